"""The endpoint agent against a small server on the loopback interface."""

import asyncio
import base64
import gzip
import html
import json
import re
import urllib.parse
import zlib

import pytest
from msgspec import to_builtins

from superalign_agents import connection
from superalign_agents.completion_bodies import read_reply
from superalign_agents.endpoint import CostLedger, EndpointAgent
from superalign_env.canonical import to_json
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.protocols import AsyncAgent, Stateful
from superalign_env.types import Message, ToolSpec, View
from superalign_env.verdicts import SCHEMA

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


def view(n=0, **fields):
    fields.setdefault(
        "messages", (Message("system", "be brief"), Message("user", f"hello {n}"))
    )
    return View(f"e{n}", n, "learner_0", "learner", 1, (1 << 62) + n, "hello", **fields)


def completion(content="hi", *, finish="stop", **extra):
    message = {"role": "assistant", "content": content, **extra.pop("message", {})}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": finish,
        **extra.pop("choice", {}),
    }
    return {
        "id": "1",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [choice],
    } | {
        "usage": USAGE,
        **extra,
    }


class Stub:
    """An HTTP server whose answers a function of (request body, request number) gives.

    The function returns a JSON body, (status, body) or (status, body, headers).
    """

    def __init__(self, answer):
        self.answer = answer
        self.bodies = []
        self.headers = []
        self.now = self.most = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            self.bodies.append(body)
            self.headers.append(head)
            answer = self.answer(body, len(self.bodies) - 1)
            if asyncio.iscoroutine(answer):
                answer = await answer
            if not isinstance(answer, tuple):
                answer = (200, answer)
            status, payload, headers = (*answer, {})[:3]
            raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            lines = [
                f"HTTP/1.1 {status} X",
                f"content-length: {len(raw)}",
                "connection: close",
            ]
            lines += [
                f"{k}: {v}"
                for k, v in ({"content-type": "application/json"} | headers).items()
            ]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.now -= 1
            writer.close()


def talk(answer, views=None, *, in_turn=False, **options):
    """Return the replies, the stub and the agent after asking for all views, at once or not."""

    async def run():
        async with Stub(answer) as stub:
            agent = EndpointAgent("tiny", base_url=stub.url, **{"retries": 2, **options})
            asked = [agent.reply(one) for one in views or [view()]]
            replies = (
                [await one for one in asked] if in_turn else await asyncio.gather(*asked)
            )
            return replies, stub, agent

    return asyncio.run(run())


def refused(param, message=""):
    error = {
        "message": message or f"{param} is not supported",
        "param": param,
        "code": None,
    }
    return 400, {"error": error}


SOON = {"retry-after-ms": "5"}


def test_it_waits_rather_than_batches():
    agent = EndpointAgent("tiny")
    assert isinstance(agent, AsyncAgent) and isinstance(agent, Stateful)
    assert not hasattr(agent, "act")


def test_the_view_is_passed_on_and_the_answer_comes_back():
    logs = {
        "content": [{"token": "hi", "logprob": -0.25, "bytes": None, "top_logprobs": []}]
    }
    (reply,), stub, _ = talk(
        lambda body, n: completion(
            " hi",
            choice={"logprobs": logs},
            message={"reasoning_content": "hm"},
            system_fingerprint="fp7",
        ),
        temperature=0.5,
        extra_body={"top_p": 0.9},
    )
    (body,) = stub.bodies
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello 0"},
    ]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 64, 0.5)
    assert (body["seed"], body["logprobs"], body["top_p"]) == (0, True, 0.9)
    assert (reply.text, reply.thought, reply.finish) == ("hi", "hm", "stop")
    assert (reply.logprobs, reply.policy, reply.error) == ((-0.25,), "tiny@fp7", "")


def test_a_view_without_messages_is_asked_as_one_text():
    _, stub, _ = talk(lambda body, n: completion(), [view(messages=())])
    assert stub.bodies[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_token_ids_are_kept_where_the_server_returns_them():
    def answer(body, n):
        logs = {"content": [{"logprob": -0.5}, {"logprob": -1.0}]}
        return completion(
            choice={"token_ids": [7, 8 + n], "logprobs": logs}, prompt_token_ids=[1, 2]
        )

    (reply,), _, _ = talk(answer, extra_body={"return_token_ids": True})
    assert (reply.prompt_ids, reply.token_ids) == ((1, 2), (7, 8))
    assert reply.logprobs == (-0.5, -1.0)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(status):
    (reply,), stub, agent = talk(
        lambda body, n: (
            (status, {"error": {"message": "busy"}}, SOON) if n < 2 else completion()
        )
    )
    assert (reply.text, reply.error, len(stub.bodies)) == ("hi", "", 3)
    assert (agent.ledger.replies, agent.ledger.failures) == (1, 0)


def test_what_does_not_pass_becomes_an_error_with_the_reason():
    replies, stub, agent = talk(
        lambda body, n: (429, {"error": {"message": "quota of tiny is spent"}}, SOON),
        [view(0), view(1)],
        retries=1,
    )
    assert len(stub.bodies) == 4
    for reply in replies:
        assert reply.finish == "error" and reply.text == ""
        assert "RateLimitError" in reply.error and "quota of tiny is spent" in reply.error
    assert (agent.ledger.replies, agent.ledger.failures) == (2, 2)


def test_one_failing_reply_harms_no_other():
    def answer(body, n):
        if body["messages"][1]["content"] == "hello 1":
            return 404, {"error": {"message": "no such model"}}
        return completion(body["messages"][1]["content"])

    replies, _, _ = talk(answer, [view(n) for n in range(3)])
    assert [reply.text for reply in replies] == ["hello 0", "", "hello 2"]
    assert "no such model" in replies[1].error


def test_a_server_that_hangs_costs_its_timeout_and_no_more():
    async def hang(body, n):
        await asyncio.sleep(600)

    (reply,), _, _ = talk(hang, timeout=0.1, retries=0)
    assert "timeout" in reply.error.lower()


def test_nobody_listening_is_an_error_that_names_the_address():
    agent = EndpointAgent("tiny", base_url="http://127.0.0.1:9/v1", retries=0)
    reply = asyncio.run(agent.reply(view()))
    assert "http://127.0.0.1:9/v1" in reply.error and "Connection" in reply.error


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"", b"{}", b"[]", b'{"choices": []}', b'{"choices": [{}]}', b"\xff"],
)
def test_a_malformed_body_is_an_error(body):
    (reply,), _, agent = talk(lambda _, n: (200, body))
    assert reply.error and reply.text == ""
    assert agent.ledger.failures == 1


def test_an_answer_withheld_by_a_content_filter_is_an_error():
    (reply,), _, _ = talk(lambda body, n: completion("", finish="content_filter"))
    assert "content filter" in reply.error


def test_an_answer_cut_at_the_limit_says_so():
    (reply,), _, _ = talk(lambda body, n: completion("long", finish="length"))
    assert (reply.text, reply.finish) == ("long", "length")


def test_structured_output_is_asked_for_by_schema():
    text = '{"score": 1.0, "confidence": 1.0, "faults": [], "critique": ""}'
    (reply,), stub, _ = talk(
        lambda body, n: completion(text), [view(form="json-schema", schema=SCHEMA)]
    )
    wanted = stub.bodies[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"] == SCHEMA and wanted["json_schema"]["strict"]
    assert reply.text == text
    assert stub.bodies[0]["messages"][1]["content"] == "hello 0"


def test_sampling_options_are_asked_for_and_both_limits_hold():
    options = {"top_p": 0.9, "stop": ["\n\n"], "max_new_tokens": 5}
    _, stub, agent = talk(lambda body, n: completion("hi"), **options)
    (body,) = stub.bodies
    assert (body["top_p"], body["stop"], body["max_tokens"]) == (0.9, ["\n\n"], 5)
    assert options.items() <= agent.spec.options.items()
    assert not options.keys() & EndpointAgent("tiny").spec.options.keys()


@pytest.mark.parametrize("field", ["top_p", "stop"])
def test_sampling_options_that_a_server_refuses_are_not_dropped_in_silence(field):
    value = {"top_p": 0.9, "stop": ["x"]}[field]
    (reply,), _, _ = talk(lambda body, n: refused(field), retries=0, **{field: value})
    assert field in reply.error


@pytest.mark.parametrize(
    ("text", "notes"),
    [("{}", {}), ("```json\n{}\n```", {}), ('{"score": 0.', {"reply.unreadable": 1})],
)
def test_json_that_cannot_be_read_is_counted(text, notes):
    asked = view(form="json-schema", schema=SCHEMA)
    (reply,), stub, _ = talk(lambda body, n: completion(text), [asked], constrained="never")
    assert reply.notes == notes
    assert "response_format" not in stub.bodies[0]


def test_an_open_schema_is_not_called_strict():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    _, stub, _ = talk(
        lambda body, n: completion("{}"), [view(form="json-schema", schema=schema)]
    )
    assert stub.bodies[0]["response_format"]["json_schema"]["strict"] is False


def test_refused_schemas_fall_back_to_json_objects_then_to_words_and_stay_there():
    def answer(body, n):
        kind = body.get("response_format", {}).get("type")
        if kind == answer.refuses or (kind == "json_schema" and answer.refuses):
            return refused("response_format", f"response_format {kind} is unknown")
        return completion("{}")

    views = [view(n, form="json-schema", schema=SCHEMA) for n in range(2)]
    for refuses, tried, told in (
        ("json_schema", ["json_schema", "json_object", "json_object"], '"critique"'),
        ("json_object", ["json_schema", "json_object", None, None], "JSON schema"),
    ):
        answer.refuses = refuses
        replies, stub, _ = talk(answer, views, in_turn=True, retries=0)
        assert [reply.text for reply in replies] == ["{}", "{}"]
        kinds = [body.get("response_format", {}).get("type") for body in stub.bodies]
        assert kinds == tried
        assert told in stub.bodies[-1]["messages"][-1]["content"]


def test_choices_come_back_as_the_choice_itself():
    one = view(form="choices", menu=("comply", "refuse"))
    (reply,), stub, _ = talk(lambda body, n: completion('{"choice": "refuse"}'), [one])
    schema = stub.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["choice"]["enum"] == ["comply", "refuse"]
    assert reply.text == "refuse"
    (reply,), _, _ = talk(lambda body, n: completion(" comply\n"), [one])
    assert reply.text == "comply"


@pytest.mark.parametrize("field", ["logprobs", "seed", "temperature"])
def test_an_optional_field_that_is_refused_is_left_out_from_then_on(field):
    def answer(body, n):
        return refused(field) if field in body else completion()

    replies, stub, _ = talk(answer, [view(0), view(1)], in_turn=True, retries=0)
    assert [reply.text for reply in replies] == ["hi", "hi"]
    assert [field in body for body in stub.bodies] == [True, False, False]


def test_servers_that_want_the_newer_name_of_the_limit_get_it():
    def answer(body, n):
        return refused("max_tokens") if "max_tokens" in body else completion()

    (reply,), stub, _ = talk(answer)
    assert reply.text == "hi" and stub.bodies[-1]["max_completion_tokens"] == 64


def test_a_refusal_for_another_reason_ends_and_teaches_nothing():
    def answer(body, n):
        if body["messages"][1]["content"] == "hello 0":
            return refused("messages", "the prompt is too long")
        return completion()

    (first, second), stub, _ = talk(answer, [view(0), view(1)], in_turn=True, retries=0)
    assert "too long" in first.error and second.text == "hi"
    assert stub.bodies[-1]["logprobs"] is True


def test_tools_become_calls_and_nonsense_arguments_stay_readable():
    def answer(body, n):
        calls = [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"at": 3}'},
            },
            {
                "id": "c2",
                "type": "function",
                "function": {"name": "look", "arguments": "{at"},
            },
        ]
        return completion(None, finish="tool_calls", message={"tool_calls": calls})

    tool = ToolSpec("look", "looks", {"type": "object", "properties": {"at": {}}})
    history = (Message("user", "u"), Message("tool", "42"))
    (reply,), stub, _ = talk(answer, [view(tools=(tool,), messages=history)])
    sent = stub.bodies[0]
    assert sent["tools"][0]["function"]["name"] == "look"
    assert sent["messages"][-1] == {"role": "user", "content": "Result of the tool:\n42"}
    assert [(c.name, c.arguments, c.id) for c in reply.tool_calls] == [
        ("look", {"at": 3}, "c1"),
        ("look", {"unparsed": "{at"}, "c2"),
    ]
    assert (reply.text, reply.finish, reply.error) == ("", "stop", "")


def test_no_more_requests_are_under_way_than_allowed():
    views = [view(n) for n in range(12)]
    for allowed in (3, 12):
        company = asyncio.Barrier(allowed)

        async def slow(body, n, company=company):
            await company.wait()
            return completion()

        _, stub, _ = talk(slow, views, max_concurrency=allowed)
        assert stub.most == allowed


def test_the_ledger_adds_up_tokens_and_dollars():
    (first, *_), _, agent = talk(
        lambda body, n: completion(),
        [view(n) for n in range(4)],
        prices={"tiny": (2.0, 10.0), "other": (1, 1)},
    )
    assert first.usage.dollars == pytest.approx(0.007)
    assert agent.ledger == CostLedger(4, 0, 4000, 2000, pytest.approx(0.028))
    assert (agent.ledger + agent.ledger).prompt_tokens == 8000


def test_the_ledger_survives_a_resume():
    _, _, agent = talk(lambda body, n: completion())
    twin = EndpointAgent("tiny")
    twin.load_state_dict(json.loads(json.dumps(agent.state_dict())))
    assert twin.ledger == agent.ledger != CostLedger()
    with pytest.raises(RecordDamaged):
        twin.load_state_dict({"ledger": 3})


def test_answers_without_usage_are_free():
    (reply,), _, agent = talk(
        lambda body, n: completion(usage=None), prices={"tiny": (1, 1)}
    )
    assert reply.usage is None and agent.ledger == CostLedger(replies=1)


def test_the_key_comes_from_the_environment_and_is_recorded_nowhere(monkeypatch):
    monkeypatch.setenv("LAB_KEY", "s3cret-key")
    (reply,), stub, agent = talk(
        lambda body, n: (401, {"error": {"message": "bad key s3cret-key"}}),
        api_key_env="LAB_KEY",
    )
    assert "authorization: bearer s3cret-key" in stub.headers[0]
    assert "s3cret" not in reply.error and "[key]" in reply.error
    assert "s3cret" not in repr(agent.spec)


def test_a_server_elsewhere_needs_a_key(monkeypatch):
    monkeypatch.delenv("LAB_KEY", raising=False)
    with pytest.raises(InvalidOption, match="api_key_env"):
        EndpointAgent("m", base_url="https://api.example.org/v1")
    with pytest.raises(InvalidOption, match="LAB_KEY is empty"):
        EndpointAgent("m", base_url="https://api.example.org/v1", api_key_env="LAB_KEY")
    monkeypatch.setenv("LAB_KEY", "k")
    assert EndpointAgent("m", base_url="https://api.example.org/v1", api_key_env="LAB_KEY")


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://[::1]:1/v1", "http://127.9.9.9/v1"]
)
def test_a_server_on_this_machine_needs_none(url):
    assert EndpointAgent("m", base_url=url).spec.options["base_url"] == url


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("", {}),
        ("m", {"base_url": "127.0.0.1:8000"}),
        ("m", {"base_url": "http://user:pass@127.0.0.1/v1"}),
        ("m", {"base_url": "http://[::1/v1"}),
        ("m", {"max_concurrency": 0}),
        ("m", {"timeout": 0}),
        ("m", {"temperature": -1}),
        ("m", {"prices": {"other": (1, 1)}}),
        ("m", {"prices": {"m": (1,)}}),
        ("m", {"prices": {"m": (-1, 0)}}),
    ],
)
def test_senseless_settings_are_refused(model, options):
    with pytest.raises(InvalidOption):
        EndpointAgent(model, **options)


def test_it_can_be_made_again_from_its_record():
    agent = EndpointAgent("m", prices={"m": (1, 2)}, extra_body={"top_p": 0.5}, timeout=3)
    assert EndpointAgent(**json.loads(json.dumps(agent.spec.options))).spec == agent.spec


def test_a_reply_that_is_given_up_leaves_no_client_behind():
    given_up = asyncio.Event()

    async def hang(body, n):
        await given_up.wait()
        return completion()

    async def run():
        async with Stub(hang) as stub:
            agent = EndpointAgent("tiny", base_url=stub.url)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(agent.reply(view()), 0.1)
            given_up.set()
            return agent._sessions

    assert asyncio.run(run()) == {}


async def _serve_raw(reply):
    """Start a server that reads one request a connection and hands its writer on."""
    seen = []

    async def serve(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            seen.append(await reader.readexactly(length))
            await reply(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", seen


def ask_raw(reply, **options):
    """Return the reply of an agent whose server writes what it likes, and what it read."""

    async def run():
        server, url, seen = await _serve_raw(reply)
        async with server:
            agent = EndpointAgent("tiny", base_url=url, **{"retries": 0, **options})
            return await agent.reply(view()), seen

    return asyncio.run(run())


def compressed(size, encoding):
    raw = json.dumps(completion("x" * size)).encode()
    if encoding == "gzip":
        return gzip.compress(raw)
    if encoding == "gzip twice":
        return gzip.compress(raw[:9]) + gzip.compress(raw[9:])
    stream = zlib.compressobj(wbits=-15 if encoding == "raw deflate" else 15)
    return stream.compress(raw) + stream.flush()


ENCODINGS = {"gzip": "gzip", "gzip twice": "gzip", "deflate": "deflate"} | {
    "raw deflate": "deflate"
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_compressed_answer_is_read_up_to_the_limit(encoding, monkeypatch):
    monkeypatch.setattr(connection, "MAX_BODY", 10_000)
    headers = {"content-encoding": ENCODINGS[encoding]}
    small, large = (compressed(size, encoding) for size in (3000, 300_000))
    assert len(large) < 3000
    (reply,), _, _ = talk(lambda body, n: (200, small, headers))
    assert (reply.error, len(reply.text)) == ("", 3000)
    (reply,), stub, _ = talk(lambda body, n: (200, large, headers))
    assert "longer than" in reply.error and len(stub.bodies) == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "sly"])
def test_a_compression_that_nobody_asked_for_is_an_error(encoding):
    (reply,), stub, _ = talk(lambda body, n: (200, b"x", {"content-encoding": encoding}))
    assert f"compressed ({encoding})" in reply.error
    assert "accept-encoding: identity" in stub.headers[0]


def test_an_answer_that_is_damaged_says_so():
    (reply,), _, _ = talk(lambda body, n: (200, b"xx", {"content-encoding": "gzip"}))
    assert "damaged" in reply.error


@pytest.mark.parametrize("status", [200, 500, 400])
def test_an_answer_without_end_is_cut_at_the_limit(status, monkeypatch):
    monkeypatch.setattr(connection, "MAX_BODY", 1_000_000)
    written = []

    async def flood(writer):
        writer.write(b"HTTP/1.1 %d X\r\ntransfer-encoding: chunked\r\n\r\n" % status)
        for _ in range(1000):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            written.append(1)
            await writer.drain()

    reply, _ = ask_raw(flood)
    assert "longer than" in reply.error
    assert len(written) < 500


@pytest.mark.parametrize(
    "drip",
    [b"1\r\n \r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"x: y\r\n"],
    ids=["body", "interim answers", "headers"],
)
def test_an_answer_that_drips_costs_one_timeout(drip):
    async def dripping(writer):
        begin = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n"
        writer.write(begin + b"\r\n" if drip.startswith(b"1") else begin * (drip[0] == 120))
        while True:
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(0.02)

    reply, _ = ask_raw(dripping, timeout=0.3)
    assert "timed out" in reply.error.lower() or "timeout" in reply.error.lower()


def test_a_flood_of_headers_is_an_error():
    async def flood(writer):
        writer.write(b"HTTP/1.1 200 X\r\n" + b"x: y\r\n" * 100_000 + b"\r\n{}")
        await writer.drain()

    assert ask_raw(flood)[0].error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_not_followed(status):
    async def run():
        async with Stub(lambda body, n: completion("stolen")) as thief:
            away = {"location": f"{thief.url}/chat/completions"}
            async with Stub(lambda body, n: (status, b"", away)) as stub:
                agent = EndpointAgent("tiny", base_url=stub.url, retries=2)
                reply = await agent.reply(view())
            return reply, thief.bodies, stub.bodies

    reply, stolen, asked = asyncio.run(run())
    assert "redirects to another server" in reply.error
    assert (stolen, len(asked)) == ([], 1)


def test_a_redirect_within_the_server_is_followed_and_ends():
    there = {"location": "/v2/chat/completions"}
    answers = lambda body, n: completion() if n else (307, b"", there)  # noqa: E731
    (reply,), stub, _ = talk(answers)
    assert (reply.text, len(stub.bodies)) == ("hi", 2)
    (reply,), stub, _ = talk(lambda body, n: (307, b"", there), retries=0)
    assert "redirects without end" in reply.error and len(stub.bodies) < 9


KEY = 'sk-Proj/4+x~9"q=&_z'


def forms_of_the_key():
    quoted = urllib.parse.quote(KEY, safe="")
    forms = {
        "raw": KEY,
        "percent": quoted,
        "percent, small": re.sub("%..", lambda m: m[0].lower(), quoted),
        "percent, all": "".join(f"%{byte:02X}" for byte in KEY.encode()),
        "percent twice": urllib.parse.quote(quoted),
        "JSON": json.dumps(KEY)[1:-1],
        "JSON in JSON": json.dumps(KEY, ensure_ascii=False)[1:-1].replace("/", r"\/"),
        "unicode escapes": "".join(f"\\u{ord(c):04X}" for c in KEY),
        "HTML": html.escape(KEY),
        "hex": KEY.encode().hex(),
        "HEX with colons": KEY.encode().hex(":").upper(),
    }
    for offset in range(3):
        forms[f"basic {offset}"] = base64.b64encode(b"u" * offset + KEY.encode()).decode()
        encoded = base64.urlsafe_b64encode(f"{'u' * offset}{KEY}:pass".encode()).decode()
        forms[f"basic {offset}, for URLs"] = encoded
    forms["base64 in lines"] = "\n".join(re.findall(".{1,8}", forms["basic 0"]))
    return forms


@pytest.mark.parametrize("form", forms_of_the_key())
def test_no_form_of_the_key_is_left_in_a_text(form):
    leak = forms_of_the_key()[form]
    left = connection.Secret(KEY).removed_from(f"it is {leak}!")
    assert "[key]" in left and leak[5:-5] not in left
    assert len(left) < len("it is [key]!") + 16  # what base64 shares with its neighbours
    assert connection.Secret("").removed_from(leak) == leak


def test_the_key_is_nowhere_in_a_reply(monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    leak = urllib.parse.quote(KEY)
    call = {"function": {"name": leak, "arguments": json.dumps({leak: [leak]})}}

    def answer(body, n):
        if n:
            return 404, {"error": {"message": f"your key {leak} is unknown"}}
        return completion(
            f"it is {leak}!",
            message={"reasoning_content": leak, "tool_calls": [call]},
            model=leak,
            system_fingerprint=leak,
        )

    replies, _, _ = talk(answer, [view(0), view(1)], api_key_env="A_KEY", retries=0)
    assert sorted(reply.text for reply in replies) == ["", "it is [key]!"]
    for reply in replies:
        said = json.dumps(to_builtins(reply))
        assert "[key]" in said and leak not in said
    monkeypatch.setenv("A_KEY", "sk-ö")
    with pytest.raises(InvalidOption, match="A_KEY holds characters"):
        EndpointAgent("m", api_key_env="A_KEY")


ODD = {
    "deep nesting": b'{"choices": ' + b"[" * 100_000,
    "closed deep nesting": b'{"choices": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a deep error": b'{"error": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a huge number": completion(usage={"prompt_tokens": 10**40}),
    "a number beyond a double": completion(usage={"prompt_tokens": 1 << 60}),
    "five thousand digits": b'{"created": ' + b"9" * 5000 + b', "choices": []}',
    "a negative usage": completion(usage={"prompt_tokens": -1}),
    "no number": b'{"choices": [], "created": NaN}',
    "no end": b'{"choices": [], "created": 1e999}',
    "the same field twice": b'{"choices": [], "choices": []}',
    "choices of text": {"choices": "hi"},
    "a choice of numbers": {"choices": [5]},
    "no message": {"choices": [{"message": None}]},
    "content in parts": {"choices": [{"message": {"content": [{"text": "hi"}]}}]},
    "usage in words": completion(usage="much"),
    "log-probs of text": completion(choice={"logprobs": {"content": ["a"]}}),
    "log-probs of nothing": completion(
        choice={"logprobs": {"content": [{"logprob": None}]}}
    ),
    "token ids beyond a record": completion(choice={"token_ids": [1 << 33]}),
    "token ids below zero": completion(choice={"token_ids": [-1]}),
    "token ids of fractions": completion(choice={"token_ids": [1.5]}),
    "tool calls of text": completion(message={"tool_calls": "abc"}),
    "a tool without a name": completion(message={"tool_calls": [{"function": {}}]}),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_body_is_no_reply(case):
    body = ODD[case]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ValueError):
        read_reply(raw, view())


@pytest.mark.parametrize("case", ["closed deep nesting", "a deep error", "usage in words"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_odd_body_fails_that_one_reply_with_a_reason(case, status):
    def answer(body, n):
        wanted = body["messages"][1]["content"] == "hello 1"
        return (status, ODD[case]) if wanted else completion("fine")

    (odd, fine), _, agent = talk(answer, [view(1), view(2)], retries=0)
    assert odd.finish == "error" and odd.text == "" and len(odd.error) < 500
    assert (fine.text, fine.error) == ("fine", "")
    assert agent.ledger.failures == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "{" * 3000,
        '{"a": ' + "[" * 80 + "]" * 80 + "}",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": %s}' % ("9" * 40),
        '{"a": "\\ud800"}',
        '{"a": 1, "a": 2}',
        "[1]",
    ],
)
def test_odd_arguments_of_a_tool_stay_readable(arguments):
    call = {"function": {"name": "run", "arguments": arguments}}
    body = json.dumps(completion("", message={"tool_calls": [call]})).encode()
    reply = read_reply(body, view())
    assert reply.tool_calls[0].arguments == {
        "unparsed": arguments.replace("\ud800", "\ufffd")
    }
    assert to_json(reply)


def test_lone_surrogates_beside_the_text_are_replaced():
    body = completion(message={"reasoning": "a\ud800"}, model="m\udfff")
    reply = read_reply(json.dumps(body).encode(), view())
    assert (reply.thought, reply.policy) == ("a�", "m�")


@pytest.mark.parametrize(
    ("content", "text", "thought"),
    [
        ("<think>secret plan</think>\n\nI refuse.", "I refuse.", "secret plan"),
        ("secret plan</think>\n\nI refuse.", "I refuse.", "secret plan"),
        ("<THINK>a</Think>I <think>b</think>refuse.", "I refuse.", "a\nb"),
        ("<think>a<think>b</think>c</think>I refuse.", "I refuse.", "a\nb\nc"),
        ("<think>cut off", "", "cut off"),
        ("<think>\n\n</think>\n\nI refuse.", "I refuse.", ""),
        ("I refuse.", "I refuse.", ""),
    ],
)
def test_thoughts_are_private(content, text, thought):
    reply = read_reply(json.dumps(completion(content)).encode(), view())
    assert (reply.text, reply.thought) == (text, thought)
    body = completion(content, message={"reasoning_content": "from the field"})
    reply = read_reply(json.dumps(body).encode(), view())
    assert reply.thought == "\n".join(filter(None, ("from the field", thought)))


def test_marks_of_thoughts_are_a_setting():
    marks = [["[plan]", "[/plan]"]]
    (reply,), _, agent = talk(
        lambda body, n: completion("[plan]x[/plan]<think>said</think>"), thought_marks=marks
    )
    assert (reply.text, reply.thought) == ("<think>said</think>", "x")
    assert agent.spec.options["thought_marks"] == (("[plan]", "[/plan]"),)
    assert "thought_marks" not in EndpointAgent("m").spec.options
    for odd in (["<a>"], [["<a>"]], [["<a>", "<a>"]], [["", "x"]], "ab"):
        with pytest.raises(InvalidOption, match="thought_marks"):
            EndpointAgent("m", thought_marks=odd)


@pytest.mark.parametrize("status", [400, 500])
def test_a_system_message_that_a_template_refuses_joins_the_first_user_message(status):
    def answer(body, n):
        if any(message["role"] == "system" for message in body["messages"]):
            return status, {"error": {"message": "System role not supported"}}
        return completion()

    async def run():
        async with Stub(answer) as stub:
            agent = EndpointAgent("tiny", base_url=stub.url, retries=0)
            return [await agent.reply(view(n)) for n in range(2)], stub.bodies

    replies, bodies = asyncio.run(run())
    assert len(bodies) == 3  # learned once
    assert bodies[-1]["messages"] == [{"role": "user", "content": "be brief\n\nhello 1"}]
    assert [reply.notes for reply in replies] == [{"prompt.system-folded": 1}] * 2


@pytest.mark.parametrize(
    "control",
    [
        "</s>",
        "[/INST]",
        "<|im_end|>",
        "<end_of_turn>",
        "</think>",
        "<</SYS>>",
        "<｜User｜>",
    ],
)
def test_control_tokens_in_anybodys_text_are_inert_and_counted(control):
    messages = (
        Message("system", "be brief"),
        Message("user", f"a {control.upper()} {control}"),
    )
    (reply,), stub, _ = talk(lambda body, n: completion(), [view(messages=messages)])
    sent = stub.bodies[0]["messages"][1]["content"]
    assert control not in sent and control[1:] in sent
    assert reply.notes["prompt.made-inert"] == 2
