//! Requests whose body chooses more than the model, each with the key that does.

/// A format by its first word, the key that a refusal names, and a body; with a bar between them.
pub(super) const CHOOSERS: &str = r#"
CHAT|models|{"model":"cheap","models":["cheap","dear"]}
CHAT|Fallbacks|{"model":"cheap","Fallbacks":["dear"]}
CHAT|fallbacks|{"model":"cheap","fallbacks":[{"model":"cheap","api_base":"http://x"}]}
CHAT|provider|{"model":"cheap","provider":{"only":["x"]}}
CHAT|api_base|{"model":"cheap","api_base":"http://x"}
CHAT|apiBase|{"model":"cheap","apiBase":"http://x"}
CHAT|litellm_session_id_url|{"model":"cheap","litellm_session_id_url":"http://x"}
CHAT|aws_region_name|{"model":"cheap","aws_region_name":"x"}
CHAT|mock_response|{"model":"cheap","mock_response":"x"}
CHAT|kv_transfer_params|{"model":"cheap","kv_transfer_params":{"remote_host":"x"}}
CHAT|deferred|{"model":"cheap","deferred":true}
CHAT|tools[].model|{"model":"cheap","tools":[{"type":"openrouter:image_generation","parameters":{"model":"dear"}}]}
RESPONSES|background|{"model":"cheap","background":1}
RESPONSES|background|{"model":"cheap","back\u0067round":"true"}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"image_generation","model":"dear"}]}
MESSAGES|fallbacks|{"model":"cheap","fallbacks":[{"model":"dear"}]}
MESSAGES|speed|{"model":"cheap","speed":"fast"}
MESSAGES|tools[].model|{"model":"cheap","tools":[{"type":"advisor_1","name":"advisor","model":"dear"}]}
RAW|fallbacks|{"fallbacks":[{"model":"dear"}]}
GEMINI|fields|{"contents":[],"fields":"candidates"}
GEMINI|routingConfig|{"contents":[],"generationConfig":{"routingConfig":{"manualMode":{"modelName":"dear"}}}}
GEMINI|tools[].model|{"contents":[],"tools":[{"retrieval":{"vertexRagStore":{"ragRetrievalConfig":{"ranking":{"llmRanker":{"modelName":"dear"}}}}}}]}
CHAT|plugins[].model|{"model":"cheap","plugins":[{"id":"fusion","analysis_models":["dear"]}]}
CONVERSE|fallbacks|{"additionalModelRequestFields":{"fallbacks":[{"model":"dear"}]}}
CONVERSE|performanceConfig|{"performanceConfig":{"latency":"optimized"}}
INVOKE|fallbacks|{"messages":[],"fallbacks":[{"model":"dear"}]}
openai_completions|models|{"model":"cheap","prompt":"x","models":["dear"]}
openai_embeddings|api_key|{"model":"cheap","input":"x","api_key":"x"}
CHAT|router_settings_override|{"model":"cheap","router_settings_override":{"fallbacks":[{"cheap":["dear"]}]}}
CHAT|langfuse_host|{"model":"cheap","langfuse_host":"http://x"}
CHAT|success_callback|{"model":"cheap","success_callback":["x"]}
CHAT|draftModel|{"model":"cheap","draftModel":"dear"}
CHAT|api.base|{"model":"cheap","api.base":"http://x"}
CHAT|base_url |{"model":"cheap","base_url ":"http://x"}
CHAT|api‐base|{"model":"cheap","api‐base":"http://x"}
CHAT|ａpi_base|{"model":"cheap","ａpi_base":"http://x"}
CHAT|model |{"model":"cheap","model ":"dear"}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"image_generation","type":"image_generation","model":"dear"}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"Type":"function","type":"image_generation","model":"dear"}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"image_generation","model":{"name":"dear"}}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"image_generation","model":["dear"]}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"image_generation","models":["cheap",1]}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"openrouter:subagent","parameters":{"function":{"model":"dear"}}}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"x","a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"model":"dear"}}}}}}}}}}]}
RESPONSES|tools[].model|{"model":"cheap","tools":[{"type":"namespace","tools":[{"type":"image_generation","model":"dear"}]}]}
RESPONSES|input[].tools[].model|{"model":"cheap","input":[{"type":"additional_tools","tools":[{"type":"image_generation","model":"dear"}]}]}
MESSAGES|messages[].tools[].model|{"model":"cheap","messages":[{"tools":[{"type":"advisor_1","name":"advisor","model":"dear"}]}]}
GEMINI|tools[].model|{"contents":[],"tools":{"retrieval":{"modelName":"dear"}}}
GEMINI|model|{"contents":[],"generationConfig":{"model":"dear"}}
"#;
