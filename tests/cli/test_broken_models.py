"""Files that are not what they claim: one clear line naming the file, exit code 1, quickly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Nereid


def expect_refusal(nereid: Nereid, path: Path) -> str:
    message = nereid("run", "x", "--raw", "-m", path).error()
    assert path.name in message
    assert nereid("inspect", path).error() == message
    return message


@pytest.mark.parametrize("keep", [0, 1, 3, 4, 8, 23, 100, 0.5, 0.9, 0.999])
def test_truncated_gguf(nereid: Nereid, tiny_gguf: Path, tmp_path: Path, keep: float) -> None:
    content = tiny_gguf.read_bytes()
    size = keep if isinstance(keep, int) else int(len(content) * keep)
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[:size])
    expect_refusal(nereid, path)


@pytest.mark.parametrize("offset", [0, 4, 8, 12, 16, 24, 32, 64])
def test_absurd_numbers_in_the_header(nereid: Nereid, tiny_gguf, tmp_path, offset: int) -> None:
    content = bytearray(tiny_gguf.read_bytes())
    content[offset : offset + 4] = b"\xff\xff\xff\x7f"
    path = tmp_path / "absurd.gguf"
    path.write_bytes(content)
    expect_refusal(nereid, path)


def test_other_files(nereid: Nereid, tmp_path: Path) -> None:
    text = tmp_path / "readme.gguf"
    text.write_text("this is no model")
    expect_refusal(nereid, text)
    folder = tmp_path / "empty_folder"
    folder.mkdir()
    expect_refusal(nereid, folder)
    expect_refusal(nereid, Path("/dev/null"))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_incomplete_folder(nereid: Nereid, tiny_model: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / missing).unlink()
    assert missing.split(".")[0] in nereid("run", "x", "--raw", "-m", folder).error()


TINY = ["-n", "2", "--max-model-len", "64"]


def test_broken_template_stops_only_who_needs_it(
    nereid: Nereid, tiny_model: Path, tmp_path: Path, device: list[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text("{% for message in %}")
    message = nereid("run", "x", "-m", folder, *TINY, *device).error()
    assert message.count("chat_template.jinja") == 1 and message.count(str(folder)) == 1
    assert nereid("chat", "-m", folder, *device, stdin="x\n").error() == message
    assert nereid("run", "x", "--raw", "-m", folder, *TINY, *device).code == 0


def test_missing_tokenizer_stops_only_who_needs_it(
    nereid: Nereid, tiny_model: Path, tmp_path: Path, device: list[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "tokenizer.json").unlink()
    message = nereid("run", "x", "-m", folder, *TINY, *device).error()
    assert message.count("tokenizer.json") == 1 and message.count(str(folder)) == 1
    ids = '{"token_ids": [1, 2, 3]}'
    assert nereid("eval", "--input", "-", "-m", folder, *device, stdin=ids).json()["logprobs"]
    text = nereid("eval", "--input", "-", "-m", folder, *device, stdin='{"prompt": "x"}')
    assert "tokenizer.json" in text.error()
    flags = ["--prefill", "4", "--decode", "2", "--repeat", "1", *device]
    assert nereid("bench", "-m", folder, *flags).code == 0


def test_config_contradicts_tensors(nereid: Nereid, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    config = folder / "config.json"
    text = config.read_text()
    assert '"intermediate_size": ' in text
    config.write_text(text.replace('"intermediate_size": ', '"intermediate_size": 1'))
    message = nereid("run", "x", "--raw", "-m", folder).error()
    assert "mlp" in message or "intermediate_size" in message


def test_unknown_architecture(nereid: Nereid, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "AbacusForCausalLM").replace(
        '"model_type": "llama"', '"model_type": "abacus"'))
    assert "abacus" in nereid("run", "x", "--raw", "-m", folder).error().lower()
