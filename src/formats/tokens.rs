//! Token counts of one request, as the provider reports them.

use serde::Serialize;

/// Bytes that stand for a token, on an average of languages and of the JSON around the text.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The tokens of so many bytes, where nobody has counted them.
#[must_use]
pub fn roughly(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// About what a picture of common size is counted as.
pub(super) const IMAGE: u64 = 1_600;
/// Tokens of a picture that a model made, where neither its bytes nor a count are there: OpenAI's
/// for a square of medium quality.
pub const PICTURE: u64 = 1_056;
/// A string of JSON that is longer and has no space is no text: a file in base64.
pub(super) const OPAQUE: usize = 2_048;

/// Bytes of a JSON body that count as text, with files in base64 as what a model sees of them.
#[must_use]
pub fn text_bytes(body: &[u8]) -> u64 {
    let mut bytes = 0;
    let mut from = 0;
    for at in memchr::memchr_iter(b'"', body).chain([body.len()]) {
        let part = &body[from..at];
        let is_opaque = part.len() > OPAQUE && memchr::memchr(b' ', part).is_none();
        bytes += if is_opaque {
            IMAGE * BYTES_PER_TOKEN
        } else {
            part.len() as u64 + 1
        };
        from = at + 1;
    }
    bytes.min(body.len() as u64)
}

/// How many bytes of a format stand for one token, for what nobody has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Density {
    /// Bytes of a request; at least 1.
    pub asked: u64,
    /// Bytes of a response; `None` where the model writes no tokens.
    pub answered: Option<u64>,
}

impl Density {
    /// Text and the JSON around it, both ways.
    pub const TEXT: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: Some(BYTES_PER_TOKEN),
    };
    /// Text in, vectors or scores out.
    pub const VECTORS: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: None,
    };
    /// Text in, pictures in base64 out. OpenAI counts 1,056 to 4,160 tokens for pictures of 1 to 4 MB.
    pub const PICTURES: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: Some(1_024),
    };
    /// Text in, speech out: 21 tokens a second (OpenAI's price per minute over its price per token),
    /// at 128 kbit/s.
    pub const SPEECH: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: Some(768),
    };
    /// Speech in, text out.
    pub const TRANSCRIPT: Self = Self {
        asked: 768,
        answered: Some(BYTES_PER_TOKEN),
    };

    /// Tokens of a request of so many bytes.
    #[must_use]
    pub fn input(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.asked)
    }

    /// Tokens of a response of so many bytes; `None` where the model writes none.
    #[must_use]
    pub fn output(self, bytes: u64) -> Option<u64> {
        self.answered.map(|density| bytes.div_ceil(density))
    }
}

impl Default for Density {
    fn default() -> Self {
        Self::TEXT
    }
}

/// Counts by kind; null where the provider said nothing. Prompt tokens include those read from and
/// written to a cache.
// The kinds mean the same for every format. Anthropic and Bedrock report prompt tokens without
// those that a cache served or took, so for them `input` is the sum of the three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Tokens {
    /// Prompt tokens, those served from and written to a cache included.
    #[serde(rename = "input_tokens")]
    pub input: Option<u64>,
    /// Tokens that the model wrote, reasoning included.
    #[serde(rename = "output_tokens")]
    pub output: Option<u64>,
    /// Prompt tokens served from the provider's cache.
    #[serde(rename = "cached_tokens")]
    pub cached: Option<u64>,
    /// Prompt tokens written to the provider's cache, whatever they live there.
    #[serde(rename = "cache_creation_input_tokens")]
    pub cache_write: Option<u64>,
    /// Those of them that live for five minutes.
    #[serde(rename = "cache_creation_5m_input_tokens")]
    pub cache_write_5m: Option<u64>,
    /// Those of them that live for an hour.
    #[serde(rename = "cache_creation_1h_input_tokens")]
    pub cache_write_1h: Option<u64>,
    /// Tokens of reasoning that the caller doesn't see.
    #[serde(rename = "reasoning_tokens")]
    pub reasoning: Option<u64>,
    /// Prompt tokens that stand for images.
    #[serde(rename = "image_input_tokens")]
    pub image_input: Option<u64>,
    /// Tokens of images that the model made.
    #[serde(rename = "image_output_tokens")]
    pub image_output: Option<u64>,
    /// Searches of the web that the provider made for the answer.
    #[serde(rename = "web_search_count")]
    pub web_searches: Option<u64>,
    /// Counted by the gateway from what passed, because the provider's count never came.
    pub estimated: bool,
}
