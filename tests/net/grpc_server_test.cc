// Aim: gRPC over real connections: answers, errors with grpc-go's texts, framing, deadlines,
// cancellation, streams, bounds. Method: a simulated machine each for server and clients
// (SimWorld); test.Echo (test_handlers.h) behind the port.
#include <gtest/gtest.h>

#include "net/grpc_codec.h"
#include "tests/net/server_harness.h"
#include "tests/net/session_pair.h"

namespace metastore::net_test {
namespace {

using net::Http2Fault;

std::string Text(const Status& status) { return std::string(status.message()); }

TEST(GrpcServerTest, MessagesOfEverySizeComeBack) {
  ServerHarness harness;
  const auto client = harness.Connect();
  for (const size_t size : {0u, 1u, 100u, 16'379u, 16'384u, 70'000u, 1'048'576u, 2'000'000u}) {
    const StatusOr<std::string> answer = harness.Call(*client, "Unary", std::string(size, 'm'));
    ASSERT_TRUE(answer.ok()) << size << ": " << answer.status();
    EXPECT_EQ(answer->size(), size);
  }
  harness.Close(*client);
}

TEST(GrpcServerTest, CodesAndMessagesArriveByteForByte) {
  ServerHarness harness;
  const auto client = harness.Connect();
  for (int code = 1; code <= 16; ++code) {
    const StatusOr<std::string> answer =
        harness.Call(*client, "Unary", "x",
                     {{"want-code", std::to_string(code)},
                      {"want-message", "etcdserver: 100% \"odd\" t\xc3\xa9xt"}});
    EXPECT_EQ(static_cast<int>(answer.status().code()), code);
    EXPECT_EQ(Text(answer.status()), "etcdserver: 100% \"odd\" t\xc3\xa9xt");
  }
  harness.Close(*client);
}

// Heads that come again are read once; more of them than are remembered take turns.
TEST(GrpcServerTest, RepeatedHeadsStayApart) {
  ServerHarness harness;
  const auto client = harness.Connect();
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 7; ++i) {
      const std::string token = "t" + std::to_string(i % (round + 1));
      const std::string method = i == 3 ? "Nothing" : "Unary";
      const StatusOr<std::string> answer = harness.Call(*client, method, "x", {{"token", token}});
      EXPECT_EQ(answer.status().code(), i == 3 ? StatusCode::kUnimplemented : StatusCode::kOk);
      if (i != 3) EXPECT_EQ(harness.echo().last_metadata["token"], token);
    }
  }
  harness.Close(*client);
}

TEST(GrpcServerTest, MetadataReachesTheHandler) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "x", {{"token", "t0"}, {"blob-bin", "AAEC"}}).ok());
  EXPECT_EQ(harness.echo().last_metadata["token"], "t0");
  EXPECT_EQ(harness.echo().last_metadata["blob-bin"], std::string("\0\1\2", 3));
  EXPECT_EQ(harness.echo().last_metadata.count("te"), 0u);
  EXPECT_EQ(harness.echo().last_deadline, MonoTime::Max());
  harness.Close(*client);
}

TEST(GrpcServerTest, TrailersOfTheHandlerReachTheClient) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& call = client->http2().Open(
      [] {
        HeaderList headers = GrpcHeaders("/test.Echo/Unary");
        headers.emplace_back("want-trailer", "tail");
        return headers;
      }(),
      GrpcFrame("x"), true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  EXPECT_EQ(call.Find(call.trailers, "trailer-back"), "tail");
  EXPECT_TRUE(GrpcStatusOf(call).ok());
  EXPECT_EQ(TakeGrpcMessage(call.body), "x");
  harness.Close(*client);
}

TEST(GrpcServerTest, UnknownServicesAndMethodsAreUnimplemented) {
  ServerHarness harness;
  const auto client = harness.Connect();
  const auto call = [&](std::string path) {
    return harness.world()
        .Await(harness.client_runtime(), client->Call(path, {}, "x", MonoTime::Max()))
        .status();
  };
  EXPECT_EQ(call("/no.Such/Thing"), UnimplementedError("unknown service no.Such"));
  EXPECT_EQ(call("/test.Echo/Nope"),
            UnimplementedError("unknown method Nope for service test.Echo"));
  EXPECT_EQ(call("/nothing"), UnimplementedError("malformed method name: \"/nothing\""));
  EXPECT_EQ(harness.stats().calls_refused, 3u);
  EXPECT_EQ(harness.stats().calls_total, 0u);
  harness.Close(*client);
}

// Sends one request with `headers` and `body` and gives back the closed stream.
ClientStream& Request(ServerHarness& harness, GrpcClient& client, const HeaderList& headers,
                      std::string body, bool end) {
  ClientStream& stream = client.http2().Open(headers, std::move(body), end);
  EXPECT_TRUE(harness.Call(client, "Unary", "wake").ok());
  EXPECT_TRUE(harness.world().RunUntil([&] { return stream.closed; }, Seconds(5)));
  return stream;
}

HeaderList With(HeaderList headers, const std::string& name, const std::string& value) {
  for (auto& [key, old] : headers) {
    if (key != name) continue;
    old = value;
    return headers;
  }
  headers.emplace_back(name, value);
  return headers;
}

TEST(GrpcServerTest, WrongHeadersAreRefusedWithTheirHttpStatus) {
  ServerHarness harness;
  const auto client = harness.Connect();
  const HeaderList good = GrpcHeaders("/test.Echo/Unary");
  const ClientStream& type = Request(
      harness, *client, With(good, "content-type", "application/json"), GrpcFrame("x"), true);
  EXPECT_EQ(type.Find(":status"), "415");
  EXPECT_EQ(GrpcStatusOf(type),
            InvalidArgumentError("invalid gRPC request content-type \"application/json\""));
  const ClientStream& method =
      Request(harness, *client, With(good, ":method", "PUT"), GrpcFrame("x"), true);
  EXPECT_EQ(method.Find(":status"), "405");
  const ClientStream& timeout =
      Request(harness, *client, With(good, "grpc-timeout", "1x"), GrpcFrame("x"), true);
  EXPECT_EQ(timeout.Find(":status"), "400");
  EXPECT_EQ(GrpcStatusOf(timeout).code(), StatusCode::kInternal);
  const ClientStream& encoding =
      Request(harness, *client, With(good, "grpc-encoding", "gzip"), GrpcFrame("x"), true);
  EXPECT_EQ(encoding.Find(":status"), "200");
  EXPECT_EQ(encoding.Find("grpc-accept-encoding"), "identity");
  EXPECT_EQ(GrpcStatusOf(encoding),
            UnimplementedError("grpc: Decompressor is not installed for grpc-encoding \"gzip\""));
  EXPECT_EQ(harness.echo().begun, 4u);  // the wakes
  harness.Close(*client);
}

TEST(GrpcServerTest, BrokenMessagesOfUnaryCalls) {
  net::ServerOptions options;
  options.message_bytes_max = 1000;
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  const HeaderList good = GrpcHeaders("/test.Echo/Unary");
  const auto status = [&](std::string body, bool end) {
    return GrpcStatusOf(Request(harness, *client, good, std::move(body), end));
  };
  EXPECT_EQ(status(GrpcFrame(std::string(1001, 'x')), true),
            ResourceExhaustedError("grpc: received message larger than max (1001 vs. 1000)"));
  // Refused at its length, without waiting for its bytes or its end.
  EXPECT_EQ(status(GrpcFrame(std::string(1001, 'x')).substr(0, 5), false).code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(status(std::string("\1\0\0\0\1x", 6), true),
            InternalError("grpc: compressed flag set with identity or empty encoding"));
  EXPECT_EQ(status("", true), InternalError("unexpected EOF"));
  EXPECT_EQ(status(GrpcFrame("cut").substr(0, 7), true), InternalError("unexpected EOF"));
  EXPECT_EQ(status(GrpcFrame("a") + GrpcFrame("b"), true).code(), StatusCode::kInternal);
  EXPECT_EQ(harness.stats().calls_refused, 6u);
  EXPECT_EQ(harness.faults(Http2Fault::kNone), 0u);
  harness.Close(*client);
}

// --- deadlines and cancellation ----------------------------------------------

TEST(GrpcServerTest, DeadlineAnswersAndStopsTheHandler) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& stream = client->http2().Open(
      With(GrpcHeaders("/test.Echo/Sleep"), "grpc-timeout", "200m"), GrpcFrame("x"), true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  const MonoTime before = harness.world().Now();
  EXPECT_TRUE(harness.world().RunUntil([&] { return stream.closed; }, Seconds(5)));
  EXPECT_EQ(GrpcStatusOf(stream), DeadlineExceededError("context deadline exceeded"));
  EXPECT_LE((harness.world().Now() - before).ms(), 210);
  harness.world().RunFor(Milliseconds(10));
  EXPECT_EQ(harness.echo().running, 0u);
  EXPECT_EQ(harness.echo().cancelled, 1u);
  EXPECT_EQ(harness.stats().calls_open, 0u);
  harness.Close(*client);
}

TEST(GrpcServerTest, DeadlineOfAnUnfinishedRequestPasses) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& stream =
      client->http2().Open(With(GrpcHeaders("/test.Echo/Unary"), "grpc-timeout", "50m"), "", false);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  EXPECT_TRUE(harness.world().RunUntil([&] { return stream.closed; }, Seconds(5)));
  EXPECT_EQ(GrpcStatusOf(stream).code(), StatusCode::kDeadlineExceeded);
  harness.Close(*client);
}

TEST(GrpcServerTest, HandlerSeesTheDeadline) {
  ServerHarness harness;
  const auto client = harness.Connect();
  const MonoTime before = harness.server_runtime().Now();
  const StatusOr<std::string> answer = harness.world().Await(
      harness.client_runtime(), client->Call("/test.Echo/Unary", {}, "x", harness.In(Seconds(3))));
  ASSERT_TRUE(answer.ok());
  EXPECT_NEAR(static_cast<double>((harness.echo().last_deadline - before).ms()), 3000.0, 10.0);
  harness.Close(*client);
}

TEST(GrpcServerTest, CancellationStopsTheHandler) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& stream =
      client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  EXPECT_EQ(harness.echo().running, 1u);
  client->http2().Cancel(stream);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  harness.world().RunFor(Milliseconds(10));
  EXPECT_EQ(harness.echo().running, 0u);
  EXPECT_EQ(harness.echo().cancelled, 1u);
  harness.Close(*client);
}

TEST(GrpcServerTest, LostConnectionStopsItsCalls) {
  ServerHarness harness;
  const auto client = harness.Connect();
  for (int i = 0; i < 5; ++i)
    client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true);
  client->http2().Open(GrpcHeaders("/test.Echo/Echo"), "", false);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  EXPECT_EQ(harness.echo().running, 6u);
  harness.Close(*client);
  harness.world().RunFor(Seconds(2));
  EXPECT_EQ(harness.echo().running, 0u);
  EXPECT_EQ(harness.stats().connections_open, 0u);
}

// Rapid reset: the client's places come back only when the handlers end.
TEST(GrpcServerTest, RunningHandlersOfResetCallsCountAgainstTheLimit) {
  net::ServerOptions options;
  options.streams_max = 10;
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  for (int i = 0; i < 100; ++i) {
    ClientStream& stream =
        client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true);
    client->http2().Output();
    client->http2().Cancel(stream);
  }
  (void)harness.Call(*client, "Unary", "wake");
  EXPECT_LE(harness.echo().begun, 12u);
  harness.world().RunFor(Milliseconds(10));
  EXPECT_TRUE(harness.Call(*client, "Unary", "still served").ok());
  harness.Close(*client);
}

// --- streams -----------------------------------------------------------------

TEST(GrpcServerTest, StreamEchoesUntilTheHalfClose) {
  ServerHarness harness;
  const auto client = harness.Connect();
  auto stream = client->OpenStream("/test.Echo/Echo", {});
  ASSERT_TRUE(stream.ok());
  for (int i = 0; i < 20; ++i) {
    const std::string message(static_cast<size_t>(i * 1000), static_cast<char>('a' + i));
    (*stream)->Write(message);
    const auto answer =
        harness.world().Await(harness.client_runtime(), (*stream)->Read(harness.In(Seconds(5))));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(*answer, message);
  }
  (*stream)->CloseSend();
  const auto end =
      harness.world().Await(harness.client_runtime(), (*stream)->Read(harness.In(Seconds(5))));
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_FALSE(end->has_value());
  stream->reset();
  harness.Close(*client);
}

TEST(GrpcServerTest, MessageLargerThanTheWindowIsRead) {
  net::ServerOptions options;
  options.message_bytes_max = 20 << 20;
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  auto stream = client->OpenStream("/test.Echo/Echo", {});
  ASSERT_TRUE(stream.ok());
  (*stream)->Write(std::string(10 << 20, 'L'));
  const auto answer =
      harness.world().Await(harness.client_runtime(), (*stream)->Read(harness.In(Seconds(60))));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ((*answer)->size(), size_t{10 << 20});
  stream->reset();
  harness.Close(*client);
}

TEST(GrpcServerTest, UnreadMessagesStopAtTheStreamsWindow) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& stream = client->http2().Open(GrpcHeaders("/test.Echo/Collect"), "", false);
  const size_t count = 400;
  for (size_t i = 0; i < count; ++i)
    client->http2().Send(stream, GrpcFrame(std::string(10'000, 'u')), false);
  client->http2().Send(stream, "", true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  harness.world().RunFor(Seconds(1));
  EXPECT_GT(stream.unsent.size(), 2'800'000u);  // of 4 MB: the window of 1 MiB has gone
  harness.echo().ReleaseSleepers();
  EXPECT_TRUE(harness.world().RunUntil([&] { return stream.closed; }, Seconds(60)));
  EXPECT_EQ(TakeGrpcMessage(stream.body), "400 messages, 4000000 bytes");
  EXPECT_TRUE(GrpcStatusOf(stream).ok());
  harness.Close(*client);
}

TEST(GrpcServerTest, SlowReaderOfAStreamHoldsTheWriterBack) {
  ServerHarness harness;
  const auto client =
      harness.Connect(Http2ClientOptions{.stream_window = 100'000, .open_windows = false});
  ClientStream& stream =
      client->http2().Open(GrpcHeaders("/test.Echo/Flood"), GrpcFrame("5000"), true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  harness.world().RunFor(Seconds(1));
  EXPECT_EQ(stream.body.size(), 100'000u);
  EXPECT_LE(harness.echo().written * 1005, 100'000 + net_limits::kStreamUnsentBytesMax + 1005);
  size_t consumed = 0;
  while (!stream.closed) {
    ASSERT_LT(consumed, 6'000'000u);
    client->http2().Consume(stream, stream.body.size());
    consumed += stream.body.size();
    stream.body.clear();
    ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  }
  consumed += stream.body.size();
  EXPECT_EQ(consumed, 5000u * 1005);
  EXPECT_TRUE(GrpcStatusOf(stream).ok());
  harness.Close(*client);
}

// The client sends nothing and takes nothing: no more happens on its side.
TEST(GrpcServerTest, InterruptEndsAReadAndAWriteThatWaitAndAllLaterOnes) {
  ServerHarness harness;
  const auto client =
      harness.Connect(Http2ClientOptions{.stream_window = 100'000, .open_windows = false});
  ClientStream& stream =
      client->http2().Open(GrpcHeaders("/test.Echo/Both"), GrpcFrame("hello"), false);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  harness.world().RunFor(Seconds(1));
  const size_t written = harness.echo().written;
  EXPECT_GE(written * 1005, 100'000u);
  harness.world().RunFor(Seconds(1));
  EXPECT_EQ(harness.echo().written, written) << "both wait";
  EXPECT_EQ(harness.echo().running, 1u);
  harness.echo().ReleaseSleepers();
  ASSERT_TRUE(
      harness.world().RunUntil([&] { return harness.echo().running == 0; }, Milliseconds(10)));
  size_t consumed = 0;
  for (int turn = 0; turn < 100 && !stream.closed; ++turn) {
    client->http2().Consume(stream, stream.body.size());
    consumed += stream.body.size();
    stream.body.clear();
    ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  }
  ASSERT_TRUE(stream.closed);
  EXPECT_EQ(consumed + stream.body.size(), written * 1005) << "what was accepted goes out";
  EXPECT_EQ(GrpcStatusOf(stream), AbortedError("read 1 write 1, then 1 1"));
  ASSERT_TRUE(harness.Call(*client, "Unary", "the connection goes on").ok());
  harness.Close(*client);
}

TEST(GrpcServerTest, StreamsHandlerLearnsOfBrokenFraming) {
  net::ServerOptions options;
  options.message_bytes_max = 1000;
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  const HeaderList echo = GrpcHeaders("/test.Echo/Echo");
  EXPECT_EQ(GrpcStatusOf(Request(harness, *client, echo, GrpcFrame(std::string(1001, 'x')), false)),
            ResourceExhaustedError("grpc: received message larger than max (1001 vs. 1000)"));
  EXPECT_EQ(
      GrpcStatusOf(Request(harness, *client, echo, GrpcFrame("ok") + std::string(2, '\0'), true)),
      InternalError("unexpected EOF"));
  harness.world().RunFor(Milliseconds(10));
  EXPECT_EQ(harness.echo().running, 0u);
  harness.Close(*client);
}

TEST(GrpcServerTest, DeadlineEndsAStream) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& stream = client->http2().Open(
      With(GrpcHeaders("/test.Echo/Echo"), "grpc-timeout", "100m"), GrpcFrame("x"), false);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  EXPECT_TRUE(harness.world().RunUntil([&] { return stream.closed; }, Seconds(5)));
  EXPECT_EQ(TakeGrpcMessage(stream.body), "x");
  EXPECT_EQ(GrpcStatusOf(stream), DeadlineExceededError("context deadline exceeded"));
  harness.Close(*client);
}

// --- bounds ------------------------------------------------------------------

TEST(GrpcServerTest, UnfinishedRequestsAreBoundedInBytes) {
  net::ServerOptions options;
  options.message_bytes_max = 1 << 20;
  options.held_request_bytes_max = 8 << 20;  // 2 MiB a connection
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  std::vector<ClientStream*> streams;
  for (int i = 0; i < 10; ++i) {
    const std::string part = GrpcFrame(std::string(1 << 20, 'p')).substr(0, 500'000);
    streams.push_back(&client->http2().Open(GrpcHeaders("/test.Echo/Unary"), part, false));
  }
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  harness.world().RunFor(Seconds(1));
  size_t refused = 0;
  for (const ClientStream* stream : streams) {
    if (!stream->closed) continue;
    ++refused;
    EXPECT_EQ(GrpcStatusOf(*stream),
              ResourceExhaustedError("too many bytes of unfinished requests"));
  }
  EXPECT_EQ(refused, 6u);
  const auto other = harness.Connect();
  EXPECT_TRUE(harness.Call(*other, "Unary", std::string(1 << 20, 'o')).ok());
  harness.Close(*other);
  harness.Close(*client);
}

TEST(GrpcServerTest, ClientThatOpensNoWindowStopsCosting) {
  ServerHarness harness;
  const auto client = harness.Connect(
      Http2ClientOptions{.stream_window = 0, .connection_window = 1 << 30, .open_windows = false});
  for (int i = 0; i < 2000; ++i) {
    client->http2().Open(With(GrpcHeaders("/test.Echo/Unary"), "want-bytes", "100000"),
                         GrpcFrame(""), true);
  }
  client->http2().Ping();
  auto stream = client->OpenStream("/test.Echo/Echo", {});  // wakes the writer
  harness.world().RunFor(Seconds(2));
  // 8 MiB of unsent replies, those of the calls that had begun together, and no more.
  EXPECT_LT(harness.echo().begun, 600u);
  EXPECT_EQ(harness.stats().calls_open, 1u);
  const auto other = harness.Connect();
  EXPECT_TRUE(harness.Call(*other, "Unary", "served").ok());
  harness.Close(*other);
  client->http2().SubmitSettings(4, 1 << 20);
  (*stream)->Write("wake");
  EXPECT_TRUE(harness.world().RunUntil([&] { return harness.echo().begun >= 600; }, Seconds(10)));
  stream->reset();
  harness.Close(*client);
}

TEST(GrpcServerTest, RepliesAreBoundedInBytes) {
  net::ServerOptions options;
  options.held_reply_bytes_max = 1 << 20;
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  EXPECT_EQ(harness.Call(*client, "Unary", "x", {{"want-bytes", "1100000"}}).status(),
            ResourceExhaustedError("too many bytes of unsent responses"));
  EXPECT_EQ(harness.Call(*client, "Unary", "x", {{"want-bytes", "1000000"}})->size(), 1'000'000u);
  harness.Close(*client);
}

TEST(GrpcServerTest, MessagesOfAStreamAreBoundedWithTheReplies) {
  net::ServerOptions options;
  options.held_reply_bytes_max = 2500;  // two messages of Flood
  ServerHarness harness(1, options);
  const auto client =
      harness.Connect(Http2ClientOptions{.stream_window = 0, .open_windows = false});
  ClientStream& stream =
      client->http2().Open(GrpcHeaders("/test.Echo/Flood"), GrpcFrame("10"), true);
  auto wake = client->OpenStream("/test.Echo/Echo", {});
  harness.world().RunFor(Seconds(1));
  EXPECT_EQ(harness.echo().written, 2u);
  EXPECT_EQ(harness.echo().running, 1u);  // Echo: Flood has ended
  client->http2().SubmitSettings(4, 1 << 20);
  (*wake)->Write("now");
  EXPECT_TRUE(harness.world().RunUntil([&] { return stream.closed; }, Seconds(5)));
  EXPECT_EQ(GrpcStatusOf(stream), ResourceExhaustedError("too many bytes of unsent responses"));
  EXPECT_EQ(stream.body.size(), 2u * 1005);
  wake->reset();
  harness.Close(*client);
}

TEST(GrpcServerTest, CallsBeyondTheServersMemoryAreRefused) {
  net::ServerOptions options;
  options.message_bytes_max = 1000;
  options.held_request_bytes_max = 8000;  // room for five calls
  ServerHarness harness(1, options);
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  std::vector<ClientStream*> streams;
  for (int i = 0; i < 8; ++i) {
    streams.push_back(&client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true));
  }
  auto wake = client->OpenStream("/test.Echo/Echo", {});
  harness.world().RunFor(Seconds(1));
  size_t refused = 0;
  for (const ClientStream* stream : streams)
    refused += stream->closed && stream->reset_code == 7 ? 1 : 0;
  EXPECT_EQ(refused, 3u);
  EXPECT_EQ(harness.echo().running, 5u);
  wake->reset();
  harness.Close(*client);
}

TEST(GrpcServerTest, ManyCallsAtOnceAreAllAnswered) {
  ServerHarness harness;
  const auto client = harness.Connect();
  std::vector<ClientStream*> streams;
  for (int i = 0; i < 3000; ++i) {
    streams.push_back(
        &client->http2().Open(GrpcHeaders("/test.Echo/Unary"), GrpcFrame(std::to_string(i)), true));
  }
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  EXPECT_TRUE(
      harness.world().RunUntil([&] { return client->http2().streams_open() == 0; }, Seconds(60)));
  for (int i = 0; i < 3000; ++i) {
    EXPECT_TRUE(GrpcStatusOf(*streams[static_cast<size_t>(i)]).ok());
    EXPECT_EQ(TakeGrpcMessage(streams[static_cast<size_t>(i)]->body), std::to_string(i));
  }
  EXPECT_EQ(harness.stats().calls_total, 3001u);
  harness.Close(*client);
}

// Request bytes arrive in the smallest segments: framing may be cut anywhere.
TEST(GrpcServerTest, BytesArrivingOneByOneAreUnderstood) {
  ServerHarness harness;
  harness.world().network().options().small_per_cent = 100;
  harness.world().network().options().segment_bytes = 1;
  const auto client = harness.Connect();
  const StatusOr<std::string> answer = harness.Call(*client, "Unary", "one by one");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, "one by one");
  harness.Close(*client);
}

}  // namespace
}  // namespace metastore::net_test
