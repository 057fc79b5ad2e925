//! Top-level keys by format. Where a guardrail judges a request, others are refused.

/// The words of a text: a list of a hundred keys reads better as a paragraph. It is made when this is
/// compiled.
macro_rules! words {
    ($text:literal) => {{
        const WORDS: [&str; count($text)] = split($text);
        &WORDS
    }};
}
pub(super) use words;

pub(super) const fn count(mut text: &str) -> usize {
    let mut count = 0;
    while !text.trim_ascii().is_empty() {
        (_, text) = first(text);
        count += 1;
    }
    count
}

pub(super) const fn split<const N: usize>(mut text: &'static str) -> [&'static str; N] {
    let mut words = [""; N];
    let mut nth = 0;
    while nth < N {
        (words[nth], text) = first(text);
        nth += 1;
    }
    words
}

/// The first word, and what follows.
const fn first(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    let mut end = 0;
    while end < text.len() && !text.as_bytes()[end].is_ascii_whitespace() {
        end += 1;
    }
    text.split_at(end)
}

/// Chat completions, as OpenAI documents them, with those of xAI, Mistral, `DeepSeek`, Groq,
/// Qwen, Z.ai, Perplexity, Fireworks and Cerebras.
pub(super) const CHAT: &[&str] = words!(
    "
    audio citation_options clear_thinking context_length_exceeded_behavior deferred
    disable_reasoning disable_search disable_tool_validation do_sample document_image_limit
    document_page_limit enable_search enable_thinking exclude_domains frequency_penalty
    function_call functions include include_domains include_reasoning logit_bias logprobs
    max_completion_tokens max_tokens messages metadata modalities model models moderation n
    parallel_tool_calls perf_metrics_in_response plugins prediction presence_penalty
    promptCacheKey prompt_cache_key prompt_cache_retention prompt_mode prompt_truncate_len
    queue_threshold random_seed raw_output reasoning reasoningEffort reasoningSummary
    reasoning_effort reasoning_format response_format return_images return_related_questions
    safe_prompt safety_identifier search_after_date_filter search_before_date_filter
    search_domain_filter search_mode search_options search_parameters search_recency_filter
    search_settings seed service_tier stop store stream stream_options temperature textVerbosity
    thinking thinking_budget tool_choice tool_stream tools top_logprobs top_p user user_id
    verbosity vl_high_resolution_images web_search_options
    "
);

/// The older completions.
pub(super) const COMPLETIONS: &[&str] = words!(
    "
    best_of echo frequency_penalty logit_bias logprobs max_tokens metadata model n
    presence_penalty prompt seed service_tier stop store stream stream_options suffix
    temperature top_p user
    "
);

/// Responses, and what Codex sends over a WebSocket.
pub(super) const RESPONSES: &[&str] = words!(
    "
    background client_metadata context_management conversation event_id frequency_penalty
    generate include input instructions max_output_tokens max_tool_calls metadata model
    moderation parallel_tool_calls personality presence_penalty previous_response_id prompt
    prompt_cache_key prompt_cache_retention reasoning safety_identifier seed service_tier store
    stream stream_id stream_options temperature text tool_choice tools top_logprobs top_p
    truncation type user verbosity
    "
);

/// Anthropic's messages, with what Bedrock and Vertex have in the body.
pub(super) const MESSAGES: &[&str] = words!(
    "
    anthropic_beta anthropic_version betas cache_control container context_management
    diagnostics inference_geo max_tokens mcp_servers messages metadata model output_config
    output_format service_tier speed stop_sequences stream system task_budget temperature
    thinking tool_choice tools top_k top_p user_profile_id
    "
);

/// Embeddings, images, audio, moderation and ranking.
pub(super) const COMPANIONS: &[&str] = words!(
    "
    add_special_tokens background chunking_strategy dimensions documents embedding_types
    encoding_format file guidance_scale image image[] include include[] input input_fidelity
    input_type instructions keep_alive known_speaker_names known_speaker_names[]
    known_speaker_references known_speaker_references[] language mask max_chunks_per_doc
    max_tokens_per_doc messages model moderation n negative_prompt normalized
    num_inference_steps output_compression output_format partial_images priority prompt quality
    query rank_fields response_format return_documents seed size speed stream stream_format
    style task temperature timestamp_granularities timestamp_granularities[] top_n truncate
    truncate_prompt_tokens truncation user voice
    "
);

/// Gemini's API and Vertex, either spelling of a name.
pub(super) const GOOGLE: &[&str] = words!(
    "
    cachedContent cached_content content contents generateContentRequest
    generate_content_request generationConfig generation_config instances labels model
    outputDimensionality output_dimensionality parameters requests safetySettings
    safety_settings serviceTier service_tier session_id store systemInstruction
    system_instruction taskType task_type title toolConfig tool_config tools
    "
);

/// Messages of OpenAI's realtime API.
pub(super) const REALTIME: &[&str] = words!(
    "
    audio audio_end_ms content_index event_id item item_id model previous_item_id response
    response_id session type
    "
);

/// A session of OpenAI's realtime API and one of its responses, also those of the beta.
pub(super) const SESSION: &[&str] = words!(
    "
    audio conversation expires_at id include input input_audio_format input_audio_noise_reduction
    input_audio_transcription instructions max_output_tokens max_response_output_tokens metadata
    modalities model object output_audio_format output_modalities parallel_tool_calls prompt
    reasoning speed temperature tool_choice tools tracing truncation turn_detection type voice
    "
);

/// Messages of Gemini's live API, either spelling of a name.
pub(super) const LIVE: &[&str] = words!(
    "
    clientContent client_content realtimeInput realtime_input setup toolResponse tool_response
    "
);

/// What opens a session of Gemini's live API.
pub(super) const SETUP: &[&str] = words!(
    "
    avatarConfig avatar_config contextWindowCompression context_window_compression
    explicitVadSignal explicit_vad_signal generationConfig generation_config historyConfig
    history_config inputAudioTranscription input_audio_transcription model
    outputAudioTranscription output_audio_transcription proactivity realtimeInputConfig
    realtime_input_config safetySettings safety_settings sessionResumption session_resumption
    systemInstruction system_instruction toolConfig tool_config tools
    "
);

/// Bedrock's `Converse`.
pub(super) const CONVERSE: &[&str] = words!(
    "
    additionalModelRequestFields additionalModelResponseFieldPaths guardrailConfig
    inferenceConfig messages model modelId outputConfig performanceConfig promptVariables
    requestMetadata serviceTier system toolConfig
    "
);

/// Bodies of `InvokeModel` of vendors other than Anthropic and OpenAI: Amazon, Meta, Mistral,
/// Cohere, AI21, Stability, `TwelveLabs`.
pub(super) const INVOKE: &[&str] = words!(
    "
    amazon-bedrock-guardrailConfig chat_history documents embeddingConfig embeddingTypes
    embedding_types imageGenerationConfig images inferenceConfig inputImage inputText input_type
    max_gen_len max_tokens_to_sample message modelId normalize prompt query schemaVersion
    taskType textGenerationConfig textToImageParams texts toolConfig truncate
    "
);

/// What `Converse` passes on to a vendor besides.
pub(super) const VENDOR: &[&str] = words!("reasoningConfig reasoning_config top_k");

/// Bedrock's `CountTokens`.
pub(super) const COUNT_TOKENS: &[&str] = words!("input model modelId");

/// Ollama's own API. Its `template` and `context` are not among them: the first is a program, the second
/// a text as token numbers, and no guardrail can judge either.
pub(super) const OLLAMA: &[&str] = words!(
    "
    dimensions format images input keep_alive logprobs messages model options prompt raw shift
    stream suffix system think tools top_logprobs truncate
    "
);

/// Extensions of llama.cpp, vLLM, `SGLang`, Ollama, LM Studio, TGI and `OpenRouter`. A
/// `chat_template` is not among them: it is a program, so no guardrail can judge what it makes.
pub(super) const SERVERS: &[&str] = words!(
    "
    adaptive_decay adaptive_target add_bos add_generation_prompt add_special_tokens
    allowed_token_ids backend_sampling bad_words cache_control cache_prompt cache_salt
    chat_template_args chat_template_kwargs continue_final_message custom_params debug
    detokenize documents draft_tokens dry_allowed_length dry_base dry_multiplier
    dry_penalty_last_n dry_sequence_breakers dynatemp_exponent dynatemp_range ebnf echo
    extra_key format grammar grammar_lazy grammar_triggers grammar_type guided_choice
    guided_decoding_backend guided_grammar guided_json guided_regex guided_whitespace_pattern
    id_slot ignore_eos image_config include_stop_str_in_output input_extra input_prefix
    input_suffix json_schema keep_alive length_penalty litellm_call_id litellm_session_id
    litellm_trace_id logits_processors lora media_io_kwargs min_keep min_p min_tokens mirostat
    mirostat_eta mirostat_tau mm_processor_kwargs n_indent n_keep n_predict n_probs no_stop_trim
    num_ctx num_predict options parse_tool_calls post_sampling_probs preserved_tokens priority
    prompt_logprobs provider reasoning reasoning_budget reasoning_budget_tokens
    reasoning_control reasoning_format reasoning_in_content regex repeat_last_n repeat_penalty
    repetition_detection repetition_penalty request_id return_hidden_states return_progress
    return_token_ids return_tokens return_tokens_as_token_ids rid route samplers
    separate_reasoning session_id session_params skip_special_tokens
    spaces_between_special_tokens speculative.n_max speculative.n_min speculative.p_min
    sse_ping_interval stop_regex stop_token_ids stream_reasoning structural_tag
    structured_outputs t_max_predict_ms tfs_z think thinking_budget_tokens thinking_forced_open
    thinking_token_budget timings_per_token tool_call_parser top_a top_k top_n_sigma trace
    transforms truncate_prompt_tokens ttl typical_p usage use_audio_in_video use_beam_search
    vllm_xargs xtc_probability xtc_threshold
    "
);
