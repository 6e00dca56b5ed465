import json, sys
from transformers import AutoTokenizer
folder, jsonl, column, count, context, out = sys.argv[1:7]
t = AutoTokenizer.from_pretrained(folder)
docs, n = [], 0
for line in open(jsonl):
    x = json.loads(line)[column]
    if isinstance(x, list): x = "\n".join(m["content"] for m in x)
    i = t(x)["input_ids"][: int(context)]
    docs.append(i); n += len(i)
    if n >= int(count): break
json.dump(docs, open(out, "w")); print(len(docs), n, sorted(map(len, docs))[:: max(1, len(docs) // 10)])
