//! What a request can ask for that not every format can express. Each codec says what its callers call
//! it and whether its providers have it; the rest follows from that, the table in `docs/FORMATS.md` too.

/// Something that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Only some of the tools may be called. Elsewhere the others are left out.
    AllowedTools,
    /// A sound in the request.
    Audio,
    /// A key under which requests share a cache.
    CacheKey,
    /// Marks up to which a prompt may be cached.
    CacheMarks,
    /// A document in the request.
    Document,
    /// Citations of a document of the request.
    DocumentCitations,
    /// A document that is a plain text.
    DocumentText,
    /// The name of a document.
    DocumentName,
    /// A document by URL.
    DocumentUrl,
    /// What the model's earlier texts quote.
    EarlierCitations,
    /// Tools that take a text. Elsewhere they take an object with the text in it.
    FreeformTools,
    /// That a tool must be called.
    ForcedTools,
    /// A penalty for what has come often.
    FrequencyPenalty,
    /// Thoughts are not shown.
    HiddenThoughts,
    /// A picture in the request.
    Image,
    /// How closely a picture is looked at.
    ImageDetail,
    /// A picture by URL.
    ImageUrl,
    /// Some JSON object as the response.
    JsonObject,
    /// JSON that matches a schema as the response.
    JsonSchema,
    /// A system message behind others. Elsewhere it joins those in front.
    LaterSystem,
    /// Log probabilities.
    LogProbs,
    /// Keys and values that the provider keeps.
    Metadata,
    /// Earlier thoughts of a model of another API.
    PlainReasoning,
    /// A penalty for what has come before.
    PresencePenalty,
    /// How much the model thinks.
    Reasoning,
    /// The name of a schema, or what it is for.
    SchemaName,
    /// A document in what a tool returned.
    ResultDocument,
    /// That a tool failed.
    ResultError,
    /// A picture in what a tool returned.
    ResultImage,
    /// Repeatable sampling.
    Seed,
    /// Tools one at a time.
    SerialTools,
    /// Stop sequences.
    Stop,
    /// A temperature above 1.
    HighTemperature,
    /// Calls that must match the schema.
    StrictTools,
    /// A temperature.
    Temperature,
    /// Sampling from the likeliest tokens.
    TopK,
    /// Nucleus sampling.
    TopP,
    /// An id of the person who asks.
    User,
    /// How much the model writes.
    Verbosity,
    /// A film in the request.
    Video,
}

/// What becomes of a feature that the provider's format doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The caller's API calls it a hint: it is left out, and the record says so.
    Hint,
    /// The request is refused.
    Must,
    /// It is left out. The caller's API has it unless a request says otherwise, so the record says nothing.
    Default,
}

/// What a format's callers call a feature.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The feature.
    pub feature: Feature,
    /// The field of the request, as the API's reference names it.
    pub name: &'static str,
    /// Whether it can be left out.
    pub need: Need,
}

impl Field {
    /// A field without which a request means something else.
    #[must_use]
    pub const fn must(feature: Feature, name: &'static str) -> Self {
        Self {
            feature,
            name,
            need: Need::Must,
        }
    }

    /// What the API does unless `name` says otherwise.
    #[must_use]
    pub const fn default(feature: Feature, name: &'static str) -> Self {
        Self {
            feature,
            name,
            need: Need::Default,
        }
    }

    /// A field that the API calls a hint.
    #[must_use]
    pub const fn hint(feature: Feature, name: &'static str) -> Self {
        Self {
            feature,
            name,
            need: Need::Hint,
        }
    }
}

impl Feature {
    /// All of them, in the order of the documentation's table.
    pub const ALL: [Self; 40] = [
        Self::Image,
        Self::ImageUrl,
        Self::ImageDetail,
        Self::Document,
        Self::DocumentText,
        Self::DocumentUrl,
        Self::DocumentName,
        Self::DocumentCitations,
        Self::EarlierCitations,
        Self::Audio,
        Self::Video,
        Self::LaterSystem,
        Self::StrictTools,
        Self::AllowedTools,
        Self::ForcedTools,
        Self::FreeformTools,
        Self::SerialTools,
        Self::ResultImage,
        Self::ResultDocument,
        Self::ResultError,
        Self::JsonObject,
        Self::JsonSchema,
        Self::SchemaName,
        Self::Reasoning,
        Self::HiddenThoughts,
        Self::PlainReasoning,
        Self::Stop,
        Self::Temperature,
        Self::HighTemperature,
        Self::TopP,
        Self::TopK,
        Self::Seed,
        Self::PresencePenalty,
        Self::FrequencyPenalty,
        Self::LogProbs,
        Self::Verbosity,
        Self::CacheMarks,
        Self::CacheKey,
        Self::User,
        Self::Metadata,
    ];

    /// What the documentation calls it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::AllowedTools => "some of the tools allowed",
            Self::Audio => "sound",
            Self::CacheKey => "cache key",
            Self::CacheMarks => "cache marks",
            Self::Document => "documents",
            Self::DocumentCitations => "citations of documents",
            Self::DocumentName => "names of documents",
            Self::DocumentText => "documents of plain text",
            Self::DocumentUrl => "documents by URL",
            Self::EarlierCitations => "citations in earlier responses",
            Self::ForcedTools => "a tool that must be called",
            Self::FreeformTools => "freeform tools",
            Self::FrequencyPenalty => "frequency penalty",
            Self::HiddenThoughts => "no reasoning in the response",
            Self::HighTemperature => "temperature above 1",
            Self::Image => "images",
            Self::ImageDetail => "detail of images",
            Self::ImageUrl => "images by URL",
            Self::JsonObject => "any JSON as response",
            Self::JsonSchema => "structured output",
            Self::LaterSystem => "system messages behind others",
            Self::LogProbs => "log probabilities",
            Self::Metadata => "metadata",
            Self::PlainReasoning => "earlier reasoning of another API's model",
            Self::PresencePenalty => "presence penalty",
            Self::Reasoning => "reasoning effort or budget",
            Self::ResultDocument => "tool results with documents",
            Self::ResultError => "failed tools",
            Self::ResultImage => "tool results with images",
            Self::SchemaName => "the name of a schema",
            Self::Seed => "seed",
            Self::SerialTools => "no parallel tool calls",
            Self::Stop => "stop sequences",
            Self::StrictTools => "strict tools",
            Self::Temperature => "temperature",
            Self::TopK => "top k",
            Self::TopP => "top p",
            Self::User => "id of the user",
            Self::Verbosity => "verbosity",
            Self::Video => "video",
        }
    }
}
