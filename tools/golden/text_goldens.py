"""Makes the expected results of the text layer, under src/text/testdata/ and tests/text/.

Small vocabularies of every supported kind are trained here; the expected ids come from implementations
that share no code with ours: tiktoken for byte-level BPE with a published pattern, sentencepiece for
the llama kind, Hugging Face tokenizers (with Oniguruma) for the two pre-tokenisers made of several
steps. Chat templates are rendered by jinja2 as transformers sets it up. The ids of SmolLM2's own
vocabulary come from transformers reading the GGUF file.

    python tools/golden/text_goldens.py MODEL.gguf
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import random
import sys
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
import tiktoken
import transformers.utils.chat_template_utils as chat_utils
from sentencepiece import sentencepiece_model_pb2
from text_corpus import CONVERSATIONS, LINES, NOW, TOOLS, mixed_texts
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[2]
UNIT_DATA = ROOT / "src/text/testdata"
MODEL_DATA = ROOT / "tests/text"
VOCAB_SIZE = 420
NUM_TEXTS = 90

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEFAULT = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"]
PATTERNS = {
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "smollm": [GPT2],
    "gpt-2": [GPT2],
    "default": DEFAULT,
    "tekken": [TEKKEN],
}
# Control tokens, then one of the user's.
SPECIALS = ["<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = "<tool_call>"


def versions(*packages: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("},{", "},\n{")
    path.write_text(text + "\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def byte_alphabet() -> dict[int, str]:
    """GPT-2's: printable Latin-1 stands for itself, the other bytes for U+0100 and on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    shifted = {byte: chr(0x100 + index) for index, byte in enumerate(others)}
    return {byte: shifted.get(byte, chr(byte)) for byte in range(256)}


def train_byte_level(patterns: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(byte_alphabet().values())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(LINES * 3, trainer)
    return tokenizer


def gguf_vocabulary(pre: str, tokenizer: Tokenizer) -> dict:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    count = len(tokens)
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": [*tokens, *SPECIALS, USER_DEFINED],
        "types": [1] * count + [3] * len(SPECIALS) + [4],
        "merges": [" ".join(merge) for merge in model["merges"]],
        "bos_id": count,
        "eos_id": count + 1,
        "add_bos": True,
    }


def tiktoken_encoder(vocabulary: dict, pattern: str) -> tiktoken.Encoding:
    """The same vocabulary as ranks: a token's id is the order in which it was merged."""
    byte_of = {char: byte for byte, char in byte_alphabet().items()}
    pairs = list(zip(vocabulary["tokens"], vocabulary["types"], strict=True))
    ranks = {
        bytes(byte_of[char] for char in text): index
        for index, (text, kind) in enumerate(pairs)
        if kind == 1
    }
    special = {text: index for index, (text, kind) in enumerate(pairs) if kind != 1}
    return tiktoken.Encoding(
        "golden", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special
    )


def byte_level_case(pre: str, vocabulary: dict, tokenizer: Tokenizer, text: str) -> dict:
    """Ids without BOS: once with the special tokens in the text recognised, once as plain text."""
    text_in = unicodedata.normalize("NFC", text) if pre == "qwen2" else text
    if len(PATTERNS[pre]) == 1:
        encoder = tiktoken_encoder(vocabulary, PATTERNS[pre][0])
        parsed = encoder.encode(text_in, allowed_special="all")
        plain = encoder.encode(text_in, allowed_special={USER_DEFINED}, disallowed_special=())
        return {"text": text, "ids": parsed, "plain_ids": plain, "decoded": text_in}
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.add_tokens([USER_DEFINED])
    tokenizer.encode_special_tokens = False
    parsed = tokenizer.encode(text_in).ids
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(text_in).ids
    return {"text": text, "ids": parsed, "plain_ids": plain, "decoded": text_in}


def make_byte_level() -> None:
    for pre, patterns in PATTERNS.items():
        tokenizer = train_byte_level(patterns)
        vocabulary = gguf_vocabulary(pre, tokenizer)
        texts = mixed_texts(NUM_TEXTS, [*SPECIALS, USER_DEFINED], seed=5)
        content = {
            "versions": versions("tokenizers", "tiktoken"),
            "vocabulary": vocabulary,
            "cases": [byte_level_case(pre, vocabulary, tokenizer, text) for text in texts],
        }
        if pre == "gpt-2":
            content["tokenizer_json"] = json.loads(tokenizer.to_str())
        write(UNIT_DATA / f"bpe_{pre}.json", content)


def train_sentence_piece() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        lines = [line for text in LINES * 3 for line in text.split("\n") if line]
        corpus.write_text("\n".join(lines), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=f"{folder}/model",
            model_type="bpe",
            vocab_size=700,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            character_coverage=0.98,
            user_defined_symbols=[USER_DEFINED],
            minloglevel=2,
        )
        return Path(f"{folder}/model.model").read_bytes()


def make_sentence_piece() -> None:
    model = train_sentence_piece()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    vocabulary = {
        "model": "llama",
        "pre": "default",
        "tokens": [piece.piece for piece in proto.pieces],
        "scores": [piece.score for piece in proto.pieces],
        "types": [piece.type for piece in proto.pieces],
        "bos_id": processor.bos_id(),
        "eos_id": processor.eos_id(),
        "unk_id": processor.unk_id(),
    }
    # A token of the user starts a new stretch of text for us, as special tokens do; for
    # sentencepiece it does not. Texts here have none of them.
    texts = [text for text in mixed_texts(140, [], seed=6) if "\0" not in text]
    cases = [
        {
            "text": text,
            "ids": processor.encode(text),
            "decoded": processor.decode(processor.encode(text)),
        }
        for text in texts
    ]
    rnd = random.Random(8)
    decodes = []
    for _ in range(150):
        ids = [rnd.randrange(4, 700 if rnd.random() < 0.4 else 260) for _ in range(12)]
        if processor.id_to_piece(ids[0]) != "<0x20>":
            decodes.append({"ids": ids, "decoded": processor.decode(ids)})
    content = {"versions": versions("sentencepiece"), "vocabulary": vocabulary}
    write(UNIT_DATA / "spm.json", {**content, "cases": cases, "decodes": decodes})


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(NOW, datetime.UTC).replace(tzinfo=None)


def render_cases(source: str, bos: str, eos: str, options: list[dict]) -> list[dict]:
    """Every conversation with every set of options; `output` null where the template refuses."""
    template = chat_utils._compile_jinja_template(source)
    cases = []
    for conversation, messages in enumerate(CONVERSATIONS):
        for option, extra in enumerate(options):
            defaults = {"tools": None, "documents": None, "bos_token": bos, "eos_token": eos}
            try:
                output = template.render(**{**defaults, "messages": messages, **extra})
            except Exception:  # whatever the template raises
                output = None
            cases.append({"conversation": conversation, "options": option, "output": output})
    return cases


def make_templates() -> None:
    chat_utils.datetime = FixedClock
    options = [
        {"add_generation_prompt": True},
        {"add_generation_prompt": False, "tools": TOOLS},
        {"add_generation_prompt": True, "enable_thinking": False, "tools": TOOLS[1:]},
    ]
    templates = []
    for path in sorted(UNIT_DATA.glob("*.jinja")):
        cases = render_cases(path.read_text(encoding="utf-8"), "<s>", "</s>", options)
        templates.append({"file": path.name, "cases": cases})
    content = {
        "versions": versions("jinja2", "transformers"),
        "now_unix_s": NOW,
        "bos": "<s>",
        "eos": "</s>",
        "conversations": CONVERSATIONS,
        "options": options,
        "templates": templates,
    }
    write(UNIT_DATA / "templates.json", content)


def make_smollm2(gguf: Path) -> None:
    tokenizer = transformers_tokenizer(gguf)
    texts = mixed_texts(150, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], seed=9)
    chats = []
    for messages in CONVERSATIONS:
        try:
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except Exception:
            continue
        chats.append({"messages": messages, "prompt": text, "ids": tokenizer(text)["input_ids"]})
    cases = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    content = {"versions": versions("transformers", "tokenizers", "gguf", "jinja2")}
    write(MODEL_DATA / "smollm2_ids.json", {**content, "cases": cases, "chats": chats})


def transformers_tokenizer(gguf: Path):  # noqa: ANN201
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make_byte_level()
    make_sentence_piece()
    make_templates()
    make_smollm2(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
