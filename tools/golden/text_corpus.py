"""Texts and conversations that the expected results of the text layer are made from."""

from __future__ import annotations

import random

NOW = 1732406400  # 2024-11-24 00:00:00 UTC

LINES = [
    "Hello, world! It's 2024-01-02 and I've paid $1,234.56 (100%): isn't it much?",
    "We'LL see; they'Re here, I'M not. DON'T. 'S 'sure 'tis.",
    "Größe, naïve café, Ångström, œuvre, ŁÓDŹ, ñandú, e\u0301 and \u00e9, n\u0303, \u212b, ﬁ, ſ 'ſ",
    "Привет, мир! Как дела у тебя сегодня утром?",
    "Καλημέρα κόσμε, τι κάνεις σήμερα;",
    "你好，世界！今天天气很好，我们去公园吧。",
    "こんにちは世界。カタカナとひらがなと漢字。",
    "안녕하세요 세계! 한국어 문장입니다.",
    "שלום עולם! עִבְרִית",
    "مرحبا بالعالم! مَرْحَبًا",
    "नमस्ते दुनिया! संख्या १२३४",
    "สวัสดีชาวโลก ไม่มีช่องว่าง",
    "Xin chào thế giới! Tiếng Việt có dấu.",
    "ქართული հայերեն አማርኛ தமிழ் বাংলা",
    "👋🏽 👨\u200d👩\u200d👧\u200d👦 🇩🇪 ❤\ufe0f 1\ufe0f\u20e3 😀😃😄 🏳\ufe0f\u200d🌈",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];  // dot product\n}\n\n\n",
    "def f(x):\n    return {'a': 1, \"b\": [1, 2, 3]}\n\n\n\n    # end\r\n\r\n\tx\r\n",
    '<p class="x">&nbsp;text</p> https://example.org/a/b?c=d&e=f#g a//b///c /\n//\n',
    "1234567890 12 345 6789 0.5e-10 ½ ² ③ Ⅷ ٣ ४ 五 \n\n1. one\n\n22. two",
    "   leading   and    trailing     spaces      ",
    "\n\n \n  \n\t\t\t \t \r\n\r\r\n \u00a0\u2003\u3000\u200b\ufeff.",
    "ThisIsCamelCase snake_case kebab-case SCREAMING_SNAKE mixedCASEWord iPhone URLs",
    "!!!??? ... --- === *** ### $$$ %%% ^^^ &&& @@@ ~~~ ``` ||| \\\\\\ /// +++ <<< >>>",
    "‘curly’ “curly” «guillemets» „low“ … – —",
    "\u0001\u0007\u001b[31m\u007f 𝒳𝓎𝓏 𐍈 𠀀 \ue000 \U0010fffd",
    "aaaaaaaaaaaaaaaa bbbbbbbb abababababab          x",
]


def mixed_texts(count: int, markers: list[str], seed: int) -> list[str]:
    """Each line as it is, edge cases, then random cuts, joins and characters, with `markers` among
    them."""
    rnd = random.Random(seed)
    texts = [
        *LINES,
        "",
        " ",
        "  ",
        "\n",
        "a",
        " a",
        "\t\t",
        "\r\n",
        "é",
        "😀",
        "0000",
        "▁",
        "<0x41>",
    ]
    for marker in markers:
        texts += [marker, f"a{marker}b", f" {marker} \n", f"{marker}{marker} x", marker[:-1]]
    letters = sorted(set("".join(LINES))) + ["  ", "\n\n", "\r\n", "'s", "'LL", *markers]
    while len(texts) < count:
        kind = rnd.randrange(3)
        if kind == 0:
            texts.append("".join(rnd.choices(letters, k=rnd.randrange(1, 40))))
        elif kind == 1:
            texts.append(rnd.choice(["", " ", "\n", *markers]).join(rnd.sample(LINES, 2)))
        else:
            line = rnd.choice(LINES)
            texts.append(line[rnd.randrange(len(line)) :] + rnd.choice(LINES)[: rnd.randrange(20)])
    return texts


def user(content: object) -> dict:
    return {"role": "user", "content": content}


def assistant(content: object, **more: object) -> dict:
    return {"role": "assistant", "content": content, **more}


def system(content: object) -> dict:
    return {"role": "system", "content": content}


def tool_result(content: object) -> dict:
    return {"role": "tool", "name": "get_weather", "content": content, "tool_call_id": "abc123def"}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The \"weather\" <now> & 'later', é 天 \u2028 \u0007 / \\",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string"},
                    "days": {"type": "number", "default": 1e-5, "max": 1e16, "min": 0.1, "n": -0.0},
                    "ok": {"type": "boolean", "default": True, "other": None},
                    "empty": [[], {}, [[]], 12345678901234567890, 1e22, 123456.789],
                },
                "required": ["location"],
            },
        },
    },
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {}}},
]
CALLS = [
    {
        "id": "abc123def",
        "type": "function",
        "function": {
            "name": "get_weather",
            "arguments": {"location": "Paris, FR", "deep": {"list": [1, 2.5, None, True]}},
        },
    }
]
TEXT_CALLS = [{"id": "x", "function": {"name": "noop", "arguments": '{"a": "b"}'}}]

CONVERSATIONS = [
    [user("Hi")],
    [system("Be kind. "), user(" Hello \n")],
    [user("a"), assistant("b"), user("c")],
    [system("sys"), user("a"), assistant(" b \n"), user("日本語 😀 <|im_end|> {{ x }} {% y %}")],
    [user("x"), assistant("<think>\nhm\n</think>\n\nanswer"), user("y"), assistant("z")],
    [user("x"), assistant("answer", reasoning_content="thought\n")],
    [user("w?"), assistant("", tool_calls=CALLS), tool_result('{"t": 20}')],
    [
        user("w?"),
        assistant(None, tool_calls=CALLS),
        tool_result("20"),
        assistant("20!"),
        user("ok"),
    ],
    [user("w?"), assistant("wait", tool_calls=TEXT_CALLS), tool_result("1"), tool_result("2")],
    [user([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}])],
    [user("a"), user("b")],
    [assistant("first")],
    [system("only")],
    [{"role": "weird", "content": "x"}],
    [],
]
