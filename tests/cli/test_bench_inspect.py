"""nereid bench and inspect."""

from __future__ import annotations

from pathlib import Path

from conftest import Nereid


def test_bench_json(nereid: Nereid, default_model, device) -> None:
    flags = ["--prefill", "32", "--decode", "4", "--context", "16", "--repeat", "1"]
    result = nereid("bench", *flags, "--batch", "1,3", "--json", *device).json()
    if device[1] == "auto" or device[1].startswith("cpu"):
        limits = result["limits"]
        assert len(limits) == 5 and all(value > 0 for value in limits.values())
        assert limits["launch_seconds"] < 0.001  # far more than it takes, for tests share the cores
        assert all(0 < row[share] for row in result["results"] for share in ("prefill_limit_share", "decode_limit_share"))
    assert [row["batch"] for row in result["results"]] == [1, 3]
    for row in result["results"]:
        assert row["prefill_tokens_per_second"] > 0
        assert row["decode_tokens_per_second"] > 0
    assert result["dtype"] in {"f32", "bf16"}
    f32 = ["--decode", "0", "--prefill", "4", "--repeat", "1", "--dtype", "f32"]
    assert nereid("bench", *f32, "--json", *device).json()["dtype"] == "f32"
    table = nereid("bench", *flags, "--max-step-tokens", "10", *device)
    assert table.code == 0
    assert "prefill 32" in table.out and "decode 4" in table.out


def test_bench_of_steps_of_one_token(nereid: Nereid, tiny_model: Path, device) -> None:
    flags = ["--prefill", "3", "--decode", "2", "--repeat", "1", "--no-limits", "--max-step-tokens", "1", *device]
    assert nereid("bench", "-m", tiny_model, *flags).code == 0


def test_bench_operators(nereid: Nereid, default_model, device) -> None:
    flags = ["--operators", "--prefill", "40", "--context", "20", "--repeat", "2", "--no-limits", *device]
    prefill, decode = nereid("bench", *flags, "--json").json()["steps"]

    def total(step: dict, operator: str, figure: str) -> float:
        return sum(row[figure] for row in step["operators"] if row["operator"] == operator)

    for step, rows in ((prefill, 40), (decode, 1)):
        # After attention the last of 30 layers has the one row whose logits are wanted.
        after_attention = 29 * rows + 1
        for name in ("attention", "qkv", "rope", "o", "gate_up", "down"):
            assert total(step, name, "launches") in (30, 60, 90)
        for name in ("embed", "head", "sample"):
            assert total(step, name, "launches") == 1
        assert total(step, "norm", "launches") == 61
        assert total(step, "wanted", "launches") == (2 if rows > 1 else 0)
        assert total(step, "o", "operations") == 2 * after_attention * 576 * 576
        assert total(step, "gate_up", "operations") == 2 * 2 * after_attention * 576 * 1536
        assert total(step, "qkv", "operations") == 30 * 2 * rows * 576 * (576 + 2 * 192)
        assert total(step, "head", "operations") == 2 * 576 * 49152
        assert abs(sum(row["seconds"] for row in step["operators"]) - step["launch_seconds"]) < 1e-9
        assert 0 < step["launch_seconds"] < step["profiled_step_seconds"] * 1.5
        assert all(row["seconds"] > 0 for row in step["operators"])
    pairs = sum(range(1, 41))  # of a query and a key it sees
    assert total(prefill, "attention", "operations") == 30 * 4 * 9 * 64 * pairs
    table = nereid("bench", *flags)
    assert table.code == 0 and "gate_up" in table.out and "decode of 1 at 20" in table.out


def test_inspect_gguf(nereid: Nereid, default_model: Path) -> None:
    model = nereid("inspect", default_model, "--json", "--tensors").json()
    assert model["kind"] == "model"
    config = model["config"]
    assert (config["architecture"], config["hidden_size"]) == ("llama", 576)
    assert (config["num_layers"], config["vocab_size"]) == (30, 49152)
    assert model["file_bytes"] == default_model.stat().st_size
    assert sum(entry["tensors"] for entry in model["formats"].values()) == len(model["tensors"])
    assert "Q4_1" in model["formats"]
    text = nereid("inspect", "-m", default_model)
    assert text.code == 0 and "hidden_size" in text.out


def test_inspect_folder(nereid: Nereid, tiny_model: Path) -> None:
    assert nereid("inspect", tiny_model, "--json").json()["config"]["architecture"] == "llama"


def test_inspect_shows_no_control_bytes(nereid: Nereid, tiny_gguf: Path, tmp_path: Path) -> None:
    """Text of a file cannot steer the terminal."""
    name = b"general.name\x08\0\0\0\x04\0\0\0\0\0\0\0"
    good = tiny_gguf.read_bytes()
    assert good.count(name + b"tiny") == 1
    path = tmp_path / "hostile.gguf"
    path.write_bytes(good.replace(name + b"tiny", name + b"\x1b[2J"))
    done = nereid("inspect", path)
    assert done.code == 0, done.err
    assert done.out.count("\\x1b[2J") == 2 and "\x1b" not in done.out


def test_bench_of_more_tokens_than_can_be_counted(nereid: Nereid, tiny_model: Path) -> None:
    flags = ["--context", "2147483647", "--decode", "128", "-m", tiny_model]
    assert "2147483775" in nereid("bench", *flags).error()


def test_dummy_weights_need_a_config_only(nereid: Nereid, tiny_model: Path, tmp_path: Path, device) -> None:
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    flags = ["-m", tmp_path, "--load-format", "dummy", *device]
    few = ["--prefill", "8", "--decode", "2", "--repeat", "1", "--json"]
    for stored in ("BF16", "q4_1"):
        result = nereid("bench", *flags, "--dummy-format", stored, *few).json()
        assert result["model"] == tmp_path.name
        assert result["results"][0]["decode_tokens_per_second"] > 0
    assert "found neither model.safetensors" in nereid("bench", "-m", tmp_path, *few, *device).error()
    wide = nereid("bench", *flags, "--dummy-format", "Q4_K", *few).error()
    assert "found 64, expected a multiple of 256" in wide


def test_dummy_weights_are_the_same_every_time(nereid: Nereid, tiny_model: Path, device) -> None:
    flags = ["-m", tiny_model, "--load-format", "dummy", "--max-tokens", "8", "--ignore-eos", *device]
    first, second = (nereid("run", *flags, "hello") for _ in range(2))
    assert first.code == 0, first.err
    assert first.out == second.out
