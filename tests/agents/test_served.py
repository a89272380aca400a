"""The endpoint agent against `transformers serve` with a scratch chat model."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from superalign_agents.endpoint import EndpointAgent
from superalign_env.asking import ask
from superalign_env.types import Message, View

pytestmark = pytest.mark.slow


def view(n, **fields):
    messages = (Message("system", "yes"), Message("user", f"hello {n}"))
    return View(f"e{n}", n, "learner_0", "learner", 1, n, "hello", messages, **fields)


def scratch_chat_model(folder):
    """Write a word-level chat model with random weights."""
    words = ["<|pad|>", "<|end|>", "<|unk|>", "user", "assistant", "yes", "no", "hello"]
    raw = Tokenizer(
        models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<|unk|>")
    )
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|pad|>", eos_token="<|end|>", unk_token="<|unk|>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The base URL of `transformers serve` with a scratch model; the model's name."""
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("transformers[serving] is not installed")
    folder = tmp_path_factory.mktemp("served")
    model = scratch_chat_model(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder / "serve.log"
    arguments = [command, "serve", model, "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--device", "cpu"]
    with log.open("wb") as sink:
        server = subprocess.Popen(arguments, stdout=sink, stderr=sink, env=environment)
    try:
        while server.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1),
            ):
                break
            time.sleep(0.2)
        else:
            pytest.fail(f"transformers serve did not start:\n{log.read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        server.terminate()
        server.wait()


def test_a_real_server_answers_many_views_at_once(served):
    url, model = served
    agent = EndpointAgent(model, base_url=url, max_concurrency=4, prices={model: (1, 1)})
    asked = [view(n, max_new_tokens=5) for n in range(8)]
    asked.append(view(9, form="choices", menu=("yes", "no"), max_new_tokens=5))
    replies = ask(agent, asked)
    assert [reply.error for reply in replies] == [""] * 9
    assert all(reply.usage.prompt_tokens > 0 for reply in replies)
    assert all(reply.usage.completion_tokens <= 5 for reply in replies)
    assert {reply.finish for reply in replies} <= {"stop", "length"}
    assert agent.ledger.replies == 9 and agent.ledger.dollars > 0


def test_an_unknown_model_of_a_real_server_is_an_error_and_no_crash(served):
    url, _ = served
    (reply,) = ask(EndpointAgent("nobody/nothing", base_url=url, retries=0), [view(0)])
    assert reply.error and reply.text == ""
