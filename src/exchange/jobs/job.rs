//! What a request asks of files and batches, in each API.

use http::{HeaderMap, Method};

use crate::formats::{
    Format, anthropic_batches, anthropic_files, gemini_batches, gemini_files, openai_batches,
};

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) enum Job<'p> {
    OpenAi(openai_batches::Action<'p>),
    /// A file of Anthropic's API, whose paths are those of OpenAI's.
    AnthropicFile(openai_batches::Action<'p>),
    Anthropic(anthropic_batches::Action<'p>),
    GeminiFile(gemini_files::Action<'p>),
    Gemini(gemini_batches::Action<'p>),
}

impl<'p> Job<'p> {
    pub(super) fn of(method: &Method, path: &'p str, headers: &HeaderMap) -> Option<Self> {
        // The path first: most requests are for a model, and headers take longer to look at.
        let gemini = gemini_files::Action::of(method, path).map(Self::GeminiFile);
        let gemini = gemini.or_else(|| gemini_batches::Action::of(method, path).map(Self::Gemini));
        if gemini.is_some() && gemini_files::recognises(headers) {
            return gemini;
        }
        let openai = openai_batches::Action::of(method, path).map(|action| {
            if action.is_for_files() && anthropic_files::recognises(headers) {
                Self::AnthropicFile(action)
            } else {
                Self::OpenAi(action)
            }
        });
        openai
            .or_else(|| anthropic_batches::Action::of(method, path).map(Self::Anthropic))
            .or(gemini)
    }

    pub(super) fn format(self) -> &'static Format {
        match self {
            Self::OpenAi(action) if action.is_for_files() => &openai_batches::FILES,
            Self::OpenAi(_) => &openai_batches::BATCHES,
            Self::AnthropicFile(_) => &anthropic_files::FORMAT,
            Self::Anthropic(_) => &anthropic_batches::FORMAT,
            Self::GeminiFile(_) => &gemini_files::FORMAT,
            Self::Gemini(_) => &gemini_batches::FORMAT,
        }
    }

    pub(super) fn has_body(self) -> bool {
        use anthropic_batches::Action as Anthropic;
        use gemini_batches::Action as Gemini;
        use gemini_files::Action as GeminiFile;
        use openai_batches::Action as OpenAi;

        matches!(
            self,
            Self::OpenAi(OpenAi::Upload | OpenAi::CreateBatch)
                | Self::AnthropicFile(OpenAi::Upload)
                | Self::Anthropic(Anthropic::Create)
                | Self::GeminiFile(GeminiFile::Upload)
                | Self::Gemini(Gemini::Create(_))
        )
    }

    /// Whether it leaves a record: requests that only look at what is there would be most of all, because
    /// clients ask again and again whether a batch has ended.
    pub(super) fn is_recorded(self) -> bool {
        use anthropic_batches::Action as Anthropic;
        use gemini_batches::Action as Gemini;
        use gemini_files::Action as GeminiFile;
        use openai_batches::Action as OpenAi;

        let only_looks = match self {
            Self::OpenAi(action) | Self::AnthropicFile(action) => matches!(
                action,
                OpenAi::ListFiles | OpenAi::File(_) | OpenAi::ListBatches | OpenAi::Batch(_)
            ),
            Self::Anthropic(action) => matches!(action, Anthropic::List | Anthropic::Batch(_)),
            Self::GeminiFile(action) => {
                matches!(action, GeminiFile::List | GeminiFile::File(_))
            }
            Self::Gemini(action) => matches!(action, Gemini::List | Gemini::Batch(_)),
        };
        !only_looks
    }
}
