"""Models with the shape of a published one and random weights, for speed: what a pass costs does not depend on its numbers.

Words are numbers: the tokenizer knows `0`, `1`, .. and nothing else.
"""

import random

# Blocks above the layer that is harvested are not made.
SHAPES = {
    # Llama 3.2 1B, which the paper reads after block 8.
    "llama3.2_1b": {
        "kind": "LlamaConfig",
        "layer": 8,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "rope_theta": 500000.0,
    },
    # Gemma 3 4B without its images, a size above Gemma 2 2B, for which transformers has no SDPA (its scores are capped).
    "gemma3_4b": {
        "kind": "Gemma3TextConfig",
        "layer": 13,
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 1024,
        "max_position_embeddings": 8192,
    },
    "trial": {
        "kind": "LlamaConfig",
        "layer": 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 8192,
    },
}
VOCABULARY = 32_768


def write(folder, name, seed, device):
    """A model of a shape as a safetensors folder in bf16."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    shape = dict(SHAPES[name])
    kind, layer = shape.pop("kind"), shape.pop("layer")
    config = getattr(transformers, kind)(vocab_size=VOCABULARY, num_hidden_layers=layer + 1, tie_word_embeddings=True, dtype="bfloat16", **shape)
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config)
    torch.set_default_dtype(before)
    model.to("cpu").save_pretrained(folder)
    words = Tokenizer(models.WordLevel({str(number): number for number in range(VOCABULARY)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))


def documents(tokens, context, seed=0):
    """Ids of documents as texts of the web are cut: half are shorter than about 400 tokens, a quarter end at the context of 1,024."""
    drawn = random.Random(seed)
    found, total = [], 0
    while total < tokens:
        length = min(context, max(16, int(drawn.lognormvariate(6.0, 1.4))))
        found.append([drawn.randrange(VOCABULARY) for _ in range(length)])
        total += length
    return found
