//! What turns and responses consist of.

use super::Seal;

/// A part of a turn or of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub content: Content,
    /// What stands up to here may be cached.
    pub cache: Option<CacheMark>,
}

/// A place up to which a prompt may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMark {
    /// For as long as the provider does by default, such as five minutes.
    Default,
    /// For an hour.
    Hour,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text, with what it quotes.
    Text(Text),
    /// A picture, a document, a sound or a film.
    Media(Media),
    /// The model calls a tool.
    ToolCall(ToolCall),
    /// What a tool returned.
    ToolResult(ToolResult),
    /// What the model thought.
    Reasoning(Thought),
    /// The model declines, and says why.
    Refusal(String),
}

/// A text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// What it quotes.
    pub citations: Vec<Citation>,
    /// The log probabilities of its tokens, if they were asked for.
    pub logprobs: Vec<LogProb>,
}

/// A medium besides text.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Which.
    pub kind: MediaKind,
    /// Its content type, such as `image/png`, where that is known.
    pub mime: Option<String>,
    /// Where its bytes are.
    pub source: Source,
    /// The name of a document.
    pub name: Option<String>,
    /// How closely the model looks at a picture: `low`, `high`, `auto`.
    pub detail: Option<String>,
    /// Whether the model should cite the document.
    pub citations: bool,
}

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A sound.
    Audio,
    /// A document, such as a PDF or a plain text.
    Document,
    /// A picture.
    Image,
    /// A film.
    Video,
}

/// Where the bytes of a medium are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the request, in Base64.
    Inline(String),
    /// In the request, as text: of a document of the type `text/plain`.
    Text(String),
    /// At a URL, which the provider fetches.
    Url(String),
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// By which its result is found; empty if the format has no ids, as Gemini's often are.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its parameters: the JSON text, as the model wrote it. Of a freeform tool, its text.
    pub arguments: String,
    /// The tool takes a text instead of parameters.
    pub is_freeform: bool,
}

/// What a tool returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolResult {
    /// The id of the call.
    pub id: String,
    /// The tool, where the format names it. [`Request::name_results`](super::Request::name_results)
    /// fills it in.
    pub name: Option<String>,
    /// Texts and media.
    pub parts: Vec<Part>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// The tool takes a text instead of parameters.
    pub is_freeform: bool,
}

/// What a model thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought {
    /// The thought, or a summary of it; empty if the provider keeps it to itself.
    pub text: String,
    /// What the provider needs to trust it or to read it, on the way back.
    pub seal: Option<Seal>,
}

/// What a text quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Citation {
    /// Of a page on the web: its address.
    pub url: Option<String>,
    /// The title of the page or document.
    pub title: Option<String>,
    /// The words that are quoted, where the provider has them.
    pub quote: Option<String>,
    /// What of the text rests on it: characters from and up to, where the provider says so.
    pub span: Option<(u64, u64)>,
    /// Of a document of the request.
    pub document: Option<InDocument>,
}

/// A place in a document of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDocument {
    /// Which of the request's documents, from 0.
    pub index: u64,
    /// What `start` and `end` count.
    pub unit: Unit,
    /// From here.
    pub start: u64,
    /// Up to here, exclusive.
    pub end: u64,
}

/// What a place in a document counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Blocks of content, from 0.
    Block,
    /// Characters, from 0.
    Char,
    /// Pages, from 1.
    Page,
}

/// The log probability of a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogProb {
    /// The token.
    pub token: String,
    /// Its bytes, where the provider has them: a token can be a part of a character.
    pub bytes: Option<Vec<u8>>,
    /// Its log probability.
    pub logprob: f64,
    /// The likeliest tokens at its place, without such lists of their own.
    pub top: Vec<LogProb>,
}

impl Part {
    /// A part without a cache mark.
    #[must_use]
    pub fn new(content: Content) -> Self {
        Self {
            content,
            cache: None,
        }
    }

    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(Text::new(text)))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(&text.text),
            _ => None,
        }
    }
}

impl Text {
    /// A text that quotes nothing.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

impl Media {
    /// A medium with nothing but its bytes.
    #[must_use]
    pub fn new(kind: MediaKind, mime: Option<String>, source: Source) -> Self {
        Self {
            kind,
            mime,
            source,
            name: None,
            detail: None,
            citations: false,
        }
    }

    /// A medium at a URL, or in a `data:` URL.
    #[must_use]
    pub fn at(kind: MediaKind, url: String) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| {
            let (head, data) = rest.split_once(',')?;
            let mime = head.strip_suffix(";base64")?;
            let mime = mime.split(';').next().unwrap_or_default();
            Some((mime.to_owned(), data.to_owned()))
        });
        match inline {
            Some((mime, data)) => {
                let mime = (!mime.is_empty()).then_some(mime);
                Self::new(kind, mime, Source::Inline(data))
            }
            None => Self::new(kind, None, Source::Url(url)),
        }
    }

    /// The URL, or a `data:` URL with the bytes; `None` for a document that is a text.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        match &self.source {
            Source::Url(url) => Some(url.clone()),
            Source::Inline(data) => {
                let fallback = match self.kind {
                    MediaKind::Image => "image/png",
                    MediaKind::Document => "application/pdf",
                    MediaKind::Audio => "audio/wav",
                    MediaKind::Video => "video/mp4",
                };
                let mime = self.mime.as_deref().unwrap_or(fallback);
                Some(format!("data:{mime};base64,{data}"))
            }
            Source::Text(_) => None,
        }
    }
}

impl ToolCall {
    /// The call with an id, if its format has none: callers find its result by it.
    #[must_use]
    pub fn with_id(self) -> Self {
        Self {
            id: super::id_or_new(Some(self.id), "call_"),
            ..self
        }
    }

    /// The parameters as an object. Some models write none, or a text that isn't JSON: it then stands
    /// under `arguments`, because formats that take objects take nothing else.
    #[must_use]
    pub fn input(&self) -> super::Object {
        use super::{Json, Object};

        if self.arguments.trim().is_empty() {
            return Object::default();
        }
        match Json::read(self.arguments.as_bytes()) {
            Ok(Json::Object(object)) => object,
            Ok(Json::Null) => Object::default(),
            _ => super::json::object! { "arguments": self.arguments.as_str() },
        }
    }
}

impl ToolResult {
    /// Its texts, one after the other with a line's end between.
    #[must_use]
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.parts.iter().filter_map(Part::as_text).collect();
        texts.join("\n")
    }

    /// Its media.
    pub fn media(&self) -> impl Iterator<Item = &Media> {
        self.parts.iter().filter_map(|part| match &part.content {
            Content::Media(media) => Some(media),
            _ => None,
        })
    }
}
