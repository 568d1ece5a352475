"""Prompts of the reference evaluation: varied in kind, language and length."""

from __future__ import annotations

_ESSAY = (
    "The history of navigation is in large part a history of measuring time. A sailor out of sight "
    "of land can find latitude from the height of the sun at noon, but longitude asks for the time "
    "at a known place, and for centuries no clock kept that time on a moving ship. Pendulums fail on "
    "a rolling deck, springs weaken in the heat, and oil thickens in the cold. Governments offered "
    "prizes. Astronomers answered with tables of the moon, which moves against the stars fast enough "
    "to serve as the hand of a clock for whoever can do the sums; clockmakers answered with "
    "balances that made up for temperature by joining two metals which swell at different rates. "
    "Both methods worked in the end, and for some decades ships carried both, since a second opinion "
    "is worth having when rocks are near. "
)
_LOG = "\n".join(
    f"2024-03-{day:02d}T{hour:02d}:15:00Z worker-{day % 4} INFO job={day * 37} state=done "
    f"duration_ms={day * hour * 13} retries={day % 3}"
    for day, hour in zip(range(1, 15), range(3, 17))
)
_CODE = '''import heapq


def dijkstra(graph: dict[str, dict[str, float]], start: str) -> dict[str, float]:
    """Shortest distances from `start`; edges have non-negative weights."""
    distances = {start: 0.0}
    queue = [(0.0, start)]
    while queue:
        distance, node = heapq.heappop(queue)
        if distance > distances.get(node, float("inf")):
            continue
        for neighbour, weight in graph[node].items():
'''

PROMPTS: list[str] = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "Water boils at 100 degrees",
    "1, 1, 2, 3, 5, 8, 13,",
    "def fibonacci(n):\n    ",
    "#include <stdio.h>\n\nint main(void) {\n",
    "SELECT name, COUNT(*) FROM orders WHERE",
    '{"name": "Ada", "born": 1815, "field": "',
    "Die Hauptstadt von Deutschland ist",
    "La photosynthèse est le processus par lequel",
    "El perro de mi vecino siempre",
    "日本の首都は",
    "Столица России —",
    "الماء ضروري",
    "🙂🚀 Emoji in a prompt should",
    "   leading spaces and\ttabs\n\n\nblank lines",
    "Question: If a train travels 60 miles in 1.5 hours, what is its average speed?\nAnswer:",
    "# Shopping list\n\n- milk\n- bread\n-",
    "<html>\n<head><title>Test page</title></head>\n<body>\n  <h1>",
    "Dear Dr. Nakamura,\n\nThank you for your letter of 12 May. I am writing to",
    "A",
    _ESSAY + _ESSAY[:400],
    _LOG,
    _CODE,
    "Summarise the following text in one sentence.\n\n" + _ESSAY + "\n\nSummary:",
]

_SYSTEM = {"role": "system", "content": "You answer in one short sentence."}
CHATS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "What is the capital of Italy?"}],
    [_SYSTEM, {"role": "user", "content": "Why is the sky blue?"}],
    [
        {"role": "user", "content": "My name is Mira."},
        {"role": "assistant", "content": "Nice to meet you, Mira! How can I help?"},
        {"role": "user", "content": "What is my name?"},
    ],
    [{"role": "user", "content": "Write a Python function that reverses a string."}],
    [{"role": "user", "content": "Traduce al inglés: «El gato duerme en la silla.»"}],
    [_SYSTEM, {"role": "user", "content": "Give a title to this text:\n\n" + _ESSAY}],
]
