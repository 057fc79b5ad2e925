//! The API formats that callers and providers speak. Each has a folder, which declares what the rest
//! of the program needs as a [`Format`]; [`ALL`] lists them. Nothing outside a format's folder knows
//! its fields or its name.

pub mod anthropic_batches;
pub mod anthropic_files;
mod assembly;
pub mod attached;
mod base_url;
mod body;
mod call;
#[cfg(test)]
mod corpus;
mod dialect;
pub mod direct;
mod failure;
mod foreign;
mod format;
pub mod gemini_batches;
pub mod gemini_files;
pub mod known;
pub mod lenient_path;
mod merge;
mod meter;
mod offer;
mod opaque_place;
pub mod openai_batches;
mod opening;
pub mod realtime;
mod refusal;
pub mod remote_batches;
mod room;
mod session_names;
mod splice;
pub mod tokens;
pub mod transcript;
pub mod translate;
mod tree;
pub mod user_message;

mod bedrock;
mod google;
mod openai;

pub use base_url::{BaseUrl, BaseUrlError, aws_region, is_version_segment};
pub use body::{NO_CONVERSATION, NO_ITEM, NO_MODEL, NO_PREVIOUS_RESPONSE};
pub use call::{
    Call, Destination, Head, KeptElsewhere, MeteredRequest, NamedItem, Outbound, Path, Sound,
};
pub use dialect::{Dialect, is_method};
pub use failure::of_response as error_words;
pub use format::{
    Background, BackgroundEnd, Begins, Chat, DefaultModel, Flag, Format, Frame, NamedResponse,
    ProviderState, Socket,
};
pub use known::Known;
pub use meter::{Meter, Pass, Reading, ToolCall};
pub use offer::Offer;
pub use opaque_place::{Goes, OpaquePlace};
pub use refusal::{Refusals, plain, respond};
pub use splice::Splice;
pub use tokens::{Density, Tokens};

use http::Method;

use crate::wire::{Body, Rejection};

/// Declares the folders of formats and lists what they declare, so that a format is one line here.
/// `rustfmt` finds no files that a macro declares: `just fmt` names them.
macro_rules! formats {
    ($($folder:ident: $($format:ident),+;)+) => {
        $(mod $folder;)+

        const COUNT: usize = [$($(stringify!($format)),+),+].len();

        /// The formats, in the order in which they are asked to recognise a request.
        pub static ALL: [&Format; COUNT] = [$($(&$folder::$format),+),+];
    };
}

formats! {
    openai_chat: FORMAT;
    openai_responses: FORMAT;
    anthropic_messages: FORMAT;
    openai_completions: FORMAT;
    openai_companions: EMBEDDINGS, IMAGES, AUDIO, MODERATIONS, RERANK;
    gemini_generate_content: FORMAT;
    bedrock_model_invoke: FORMAT;
    bedrock_converse: FORMAT;
    bedrock_count_tokens: FORMAT;
    google_generate_content: FORMAT;
    google_raw_predict: FORMAT;
    ollama: CHAT, GENERATE, EMBED;
    openai_realtime: FORMAT;
    gemini_live: FORMAT, VERTEX;
}

/// What is asked of one provider besides models, in the order in which they are asked to recognise a request.
pub static PLACES: [&Format; 2] = [&direct::FORMAT, &openai_responses::STORED];

/// APIs of batches that providers have themselves.
pub static BATCHES: [&Format; 2] = [&openai_batches::BATCHES, &anthropic_batches::FORMAT];

/// What a request is for that no model answers.
#[must_use]
pub fn place(method: &Method, path: &str) -> Option<&'static Format> {
    let mut places = PLACES.into_iter();
    places.find(|place| place.recognises_place(method, path))
}

/// The format that examples and questions are about which name none.
pub static DEFAULT: &Format = &openai_chat::FORMAT;

impl Dialect {
    /// A refusal in the shape of this API.
    #[must_use]
    pub fn refuse(self, rejection: &Rejection) -> http::Response<Body> {
        let refusals = match self {
            Self::OpenAi => openai::error::REFUSALS,
            Self::Anthropic => anthropic_messages::REFUSALS,
            Self::Google => google::error::REFUSALS,
            Self::Bedrock => bedrock::error::REFUSALS,
            Self::Ollama => ollama::REFUSALS,
            Self::Gateway => refusal::PLAIN,
        };
        refusals.response(rejection)
    }
}

/// The format of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Format> {
    let mut all = ALL.into_iter().chain(PLACES);
    all.find(|format| format.name == name)
}

/// How formats are translated, of those that can be.
#[cfg(test)]
fn codecs() -> Vec<&'static translate::Codec> {
    ALL.into_iter().filter_map(|format| format.codec).collect()
}

/// A format's name without that of its vendor, such as `messages`.
#[must_use]
pub fn short_name(format: &Format) -> &'static str {
    let (_, name) = format.name.split_once('_').unwrap_or(("", format.name));
    name
}

/// The format in which providers with these flags can be asked what a caller asks in `caller`, which they
/// don't speak.
#[must_use]
pub fn translated(caller: &Format, flags: &[&str]) -> Option<&'static Format> {
    let has_counterpart = |format: &&Format| {
        let is_model = caller.codec.is_some() && format.codec.is_some();
        let is_vectors = caller.vector_caller.is_some() && format.vector_provider.is_some();
        is_model || is_vectors
    };
    let mut others = ALL.into_iter().filter(|format| format.name != caller.name);
    others.find(|format| has_counterpart(format) && format.is_spoken_with(flags))
}

/// The keys of a provider's `compatibility` that the formats of a list declare, each once.
pub fn flags(formats: &[&'static Format]) -> Vec<&'static Flag> {
    let mut flags: Vec<&Flag> = Vec::new();
    for format in formats {
        let socket = format.socket.map(|socket| socket.flag);
        for flag in format.flags.iter().copied().chain(socket) {
            if !flags.iter().any(|known| known.name == flag.name) {
                flags.push(flag);
            }
        }
    }
    flags
}
