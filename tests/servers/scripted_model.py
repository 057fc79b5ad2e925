"""Writes a llama model that reads a note with whichever tool a program offers for it, and then says what the note
holds. It calls no tool that nobody offers, and without tools it says hello.

Its weights are a table of which token follows which, and its chat template ends with the token that begins what
is to be said. So a real server counts, streams and parses what it says, and it says the same each time.

    scripted_model.py gguf FILE NOTE WORD    for Ollama; the template is in FILE.template
    scripted_model.py hf FOLDER NOTE WORD    for vLLM
"""

import json
import pathlib
import sys

WIDTH = 64
START, END = "<|im_start|>", "<|im_end|>"
HELLO, RESULT = "<|say:hello|>", "<|say:result|>"
# The vocabulary is a multiple of this.
ROUND = 32


def texts(note, word):
    """What follows each token that ends a prompt, in tokens. No token stands in two of them."""
    all_texts = {
        HELLO: ["Hello", " from", " a", " script", "!"],
        RESULT: ["The", " note", " says", f" {word}", "."],
    }
    calls = {
        "Read": {"file_path": note},
        "read_file": {"file_path": note},
        "exec_command": {"cmd": f"cat {note}"},
        "shell_command": {"command": f"cat {note}"},
        "shell": {"command": ["cat", note]},
        "read": {"filePath": note},
    }
    for nth, (tool, arguments) in enumerate(calls.items(), 1):
        begin, call = "<tool_call>", json.dumps({"name": tool, "arguments": arguments})
        all_texts[f"<|call:{tool}|>"] = [begin[:nth], begin[nth:], f"\n{call}\n", "</tool_call>"]
    return all_texts


def tools(prompts):
    return [prompt[len("<|call:") : -2] for prompt in prompts if prompt.startswith("<|call:")]


def jinja(prompts):
    """The template for vLLM. It shows the end of each message, so that prompts of any length fit."""
    known = ", ".join(f"'{tool}'" for tool in tools(prompts))
    return (
        "{%- set say = namespace(token='" + HELLO + "') -%}"
        "{%- for tool in tools or [] -%}"
        "{%- if tool.function.name in [" + known + "] and say.token == '" + HELLO + "' -%}"
        "{%- set say.token = '<|call:' + tool.function.name + '|>' -%}{%- endif -%}{%- endfor -%}"
        "{%- for message in messages -%}"
        "{{ '" + START + "' + message.role + '\\n' + (message.content or '')[-200:] + '" + END + "\\n' }}"
        "{%- if message.role == 'tool' -%}{%- set say.token = '" + RESULT + "' -%}{%- endif -%}"
        "{%- endfor -%}{{ '" + START + "assistant\\n' + say.token }}"
    )


def go(prompts):
    """The same for Ollama, whose templates can't cut a text: it leaves out system messages, which are long."""
    known = " ".join(f'(eq .Function.Name "{tool}")' for tool in tools(prompts))
    return (
        '{{- $say := "' + HELLO + '" }}'
        '{{- range .Tools }}{{ if and (eq $say "' + HELLO + '") (or ' + known + ") }}"
        '{{ $say = printf "<|call:%s|>" .Function.Name }}{{ end }}{{ end }}'
        "{{- range .Messages }}" + START + "{{ .Role }}\n"
        '{{ if ne .Role "system" }}{{ .Content }}{{ end }}'
        "{{ if .ToolCalls }}<tool_call>\n{{ range .ToolCalls }}"
        '{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}\n'
        "{{ end }}</tool_call>{{ end }}" + END + "\n"
        '{{ if eq .Role "tool" }}{{ $say = "' + RESULT + '" }}{{ end }}'
        "{{ end }}" + START + "assistant\n{{ $say }}"
    )


def alphabet():
    """GPT-2's map from bytes to printable characters."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + nth) for nth, byte in enumerate(shifted)}


def vocabulary(all_texts):
    """Bytes, the tokens of the texts, and the tokens that end a prompt, filled up; and how many are plain."""
    spelt = alphabet()
    said = [token for text in all_texts.values() for token in text]
    said = ["".join(spelt[byte] for byte in token.encode()) for token in dict.fromkeys(said)]
    plain = list(dict.fromkeys([*(spelt[byte] for byte in range(256)), *said]))
    control = [START, END, *all_texts]
    control += [f"<|unused{nth}|>" for nth in range(-(len(plain) + len(control)) % ROUND)]
    return plain + control, len(plain)


def tables(all_texts, tokens):
    """Which token follows which, as an embedding and an output: each token that something follows has a
    dimension. After all others the response ends, if it may."""
    spelt = alphabet()
    place = {token: nth for nth, token in enumerate(tokens)}
    embedding = [[0.0] * WIDTH for _ in tokens]
    output = [[0.0] * WIDTH for _ in tokens]
    follows = {}
    for prompt, text in all_texts.items():
        chain = [prompt, *("".join(spelt[byte] for byte in token.encode()) for token in text)]
        for token, following in zip(chain, [*chain[1:], END]):
            assert follows.setdefault(token, following) == following, token
    assert len(follows) < WIDTH, len(follows)
    dimensions = {token: nth for nth, token in enumerate(follows, 1)}
    for token, row in place.items():
        embedding[row][dimensions.get(token, 0)] = 1.0
    output[place[END]][0] = 4.0
    for token, dimension in dimensions.items():
        output[place[follows[token]]][dimension] = 4.0
    return embedding, output


def write_gguf(path, all_texts):
    """With blocks that add nothing."""
    import gguf
    import numpy as np

    tokens, plain = vocabulary(all_texts)
    embedding, output = (np.array(table, np.float32) for table in tables(all_texts, tokens))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("scripted")
    writer.add_context_length(32768)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * plain + [gguf.TokenType.CONTROL] * (len(tokens) - plain)
    writer.add_token_types(kinds)
    # At least one is needed. It makes no token that a text has.
    writer.add_token_merges(["e e"])
    writer.add_bos_token_id(tokens.index(START))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    for norm in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{norm}.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((WIDTH, WIDTH), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    pathlib.Path(f"{path}.template").write_text(go(all_texts))


def write_hf(path, all_texts):
    """The same for vLLM."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens, plain = vocabulary(all_texts)
    vocab = {token: nth for nth, token in enumerate(tokens[:plain])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens[plain:]])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END)
    fast.chat_template = jinja(all_texts)
    fast.save_pretrained(path)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=131072,
        bos_token_id=tokens.index(START),
        eos_token_id=tokens.index(END),
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in (*model.model.layers[0].self_attn.parameters(), *model.model.layers[0].mlp.parameters()):
            parameter.zero_()
        embedding, output = tables(all_texts, tokens)
        model.model.embed_tokens.weight.copy_(torch.tensor(embedding))
        model.lm_head.weight.copy_(torch.tensor(output))
    model.to(torch.bfloat16).save_pretrained(path)


def main(kind, path, note, word):
    {"gguf": write_gguf, "hf": write_hf}[kind](path, texts(note, word))


main(*sys.argv[1:])
