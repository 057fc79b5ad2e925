"""Writes a llama model of half a megabyte with random weights.

It says nothing sensible, but a real inference server loads it, counts its tokens and
streams its words. The same file comes out each time.
"""

import sys

import gguf
import numpy as np

WIDTH, BLOCKS, HEADS, KV_HEADS, CONTEXT = 64, 2, 4, 2, 8192
# How strongly the end of an answer is favoured: most answers have some dozens of tokens.
END_BIAS = 0.7
WORDS = (
    "the a and is was to of in that it for on with as at by this have from or one had not "
    "but what all were when we there can an your which their said if do will each about how"
).split()
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_alphabet():
    """GPT-2's map from bytes to printable characters."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + nth) for nth, byte in enumerate(shifted)
    }


def vocabulary():
    """Bytes, the words above with a space before each, the merges that make them, and
    the control tokens."""
    alphabet = byte_alphabet()
    tokens = [alphabet[byte] for byte in range(256)]
    merges = []
    for word in WORDS:
        spelt = [alphabet[byte] for byte in f" {word}".encode()]
        while len(spelt) > 1:
            merge = f"{spelt[0]} {spelt[1]}"
            spelt[:2] = [spelt[0] + spelt[1]]
            if spelt[0] not in tokens:
                tokens.append(spelt[0])
                merges.append(merge)
    return tokens, merges


def main(path):
    tokens, merges = vocabulary()
    plain = len(tokens)
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    kinds = [gguf.TokenType.NORMAL] * plain + [gguf.TokenType.CONTROL] * 3
    while len(tokens) % 32:
        tokens.append(f"<|unused{len(tokens)}|>")
        kinds.append(gguf.TokenType.UNUSED)

    random = np.random.default_rng(1)

    def weights(rows, columns, scale=1.0):
        values = random.standard_normal((rows, columns)) * scale / np.sqrt(columns)
        return values.astype(np.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(plain)
    writer.add_eos_token_id(plain + 2)
    writer.add_pad_token_id(plain)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    writer.add_tensor("token_embd.weight", weights(len(tokens), WIDTH, 4.0))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    # Only whole pieces of words can be said, so that what comes out is readable.
    output = np.zeros((len(tokens), WIDTH), np.float32)
    output[256:plain] = random.standard_normal((plain - 256, WIDTH)) * 0.6
    output[plain + 2] = random.standard_normal(WIDTH) * END_BIAS
    writer.add_tensor("output.weight", output)
    kv_width = WIDTH // HEADS * KV_HEADS
    for block in range(BLOCKS):
        name = f"blk.{block}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{name}{norm}.weight", np.ones(WIDTH, np.float32))
        for tensor, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", kv_width, WIDTH),
            ("attn_v", kv_width, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", 2 * WIDTH, WIDTH),
            ("ffn_up", 2 * WIDTH, WIDTH),
            ("ffn_down", WIDTH, 2 * WIDTH),
        ):
            writer.add_tensor(f"{name}{tensor}.weight", weights(rows, columns))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(sys.argv[1])
