"""Conversations to take pictures of."""

from __future__ import annotations

from dataclasses import replace

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from localqwen.events import Usage
from localqwen.params import SamplingParams

MODEL = "qwen2-7b-instruct"
TOUR = "A tour of Markdown, please: 漢字 and 🎉 included"
CODE = "And code, with a table?"
PROSE = """\
# A tour of Markdown

Text can be **bold**, *in italics*, ***both***, ~~struck~~ or `code`, and it links to [a page](https://example.org).
A line that is much longer than the others wraps at words, wherever the terminal ends, and does not become harder to
read by it.

## Lists

1. The first thing
2. The second thing
   - a part of it
   - 漢字かな交じり文, which is twice as wide
   - emoji: 🎉 🚀 👩‍💻
3. The third thing

- [x] Done long ago
- [ ] Still to be done

> A quotation,
> > and one within it.

***
"""
FENCE = """\
Here is a function:

```python
def reverse(text: str) -> str:
    \"\"\"The text from its end.\"\"\"
    return text[::-1]  # 42 is in no slice


print(reverse("stressed"))
```

```diff
- return text
+ return text[::-1]
```

| Text | Reversed | Length |
| :--- | :------: | -----: |
| `stressed` | desserts | 8 |
| 漢字 | 字漢 | 2 |
| 🎉 and 🚀 | 🚀 dna 🎉 | 7 |

That is **all**.
"""


def fill(store: Store) -> None:
    """A few conversations, one with branches, files and all that Markdown has, one pinned, one only a draft."""
    dinner = _talk(store, "Plan a week of dinners", "Monday: **pasta**.\n\nTuesday: rice with beans.")
    store.pin(dinner.chat_id)
    _talk(store, "Why is the sky blue?", "Air scatters blue light more than red light.")
    draft = store.create_chat()
    store.save_draft(draft.id, "Write to the landlord about")
    _tour(store)


def _talk(store: Store, question: str, answer: str) -> Message:
    chat = store.create_chat()
    return _answered(store, store.ask(chat.id, None, question), answer)


def _tour(store: Store) -> None:
    chat = store.create_chat()
    files = [Attachment("src/notes.txt", "a note\n" * 170), Attachment("pasted text 1", "a line\n" * 4800)]
    first = store.ask(chat.id, None, TOUR, files)
    _answered(store, first, "Another tour, which was not as good.")
    tour = _answered(store, first, PROSE)
    old = store.ask(chat.id, tour.id, "And code?")
    code = store.branch(old, CODE)
    _answered(store, code, FENCE)


def _answered(store: Store, question: Message, text: str) -> Message:
    begun = store.begin_answer(question.chat_id, question.id, SamplingParams())
    usage = Usage(prompt_tokens=1200, completion_tokens=len(text.split()), decode_seconds=6.0, first_token_seconds=0.8)
    answer = replace(begun, text=text, state="done", model=MODEL, usage=usage)
    store.finish_answer(answer)
    return answer
