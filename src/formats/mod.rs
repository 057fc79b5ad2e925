//! The API formats that callers and providers speak. Each has a folder, which declares what the rest
//! of the program needs as a [`Format`]; [`ALL`] lists them. Nothing outside a format's folder knows
//! its fields or its name.

mod base_url;
mod body;
mod call;
#[cfg(test)]
mod corpus;
mod dialect;
mod failure;
mod foreign;
mod format;
pub mod known;
pub mod lenient_path;
mod merge;
mod meter;
mod offer;
mod opening;
mod refusal;
mod splice;
pub mod tokens;
pub mod transcript;
mod tree;
pub mod user_message;

mod anthropic_messages;
mod bedrock;
mod bedrock_converse;
mod bedrock_count_tokens;
mod bedrock_model_invoke;
mod gemini_generate_content;
mod google;
mod google_generate_content;
mod google_raw_predict;
mod openai;
mod openai_chat;
mod openai_companions;
mod openai_completions;
mod openai_responses;

pub use base_url::{BaseUrl, BaseUrlError, aws_region, is_version_segment};
pub use body::NO_MODEL;
pub use call::{Call, Destination, Head, Outbound, Path};
pub use dialect::{Dialect, is_method};
pub use failure::of_response as error_words;
pub use format::{
    Chat, DefaultModel, Flag, Format, Frame, OpaquePlace, ProviderState, Refusals, Socket,
};
pub use known::Known;
pub use meter::{Meter, MeteredRequest, Pass, Reading, ToolCall};
pub use offer::Offer;
pub use refusal::{plain, respond};
pub use splice::Splice;
pub use tokens::{Density, Tokens};

use gemini_generate_content::VERBS as METHODS;

/// The formats, in the order in which they are asked to recognise a request.
pub static ALL: [&Format; 15] = [
    &openai_chat::FORMAT,
    &openai_responses::FORMAT,
    &anthropic_messages::FORMAT,
    &openai_completions::FORMAT,
    &openai_companions::EMBEDDINGS,
    &openai_companions::IMAGES,
    &openai_companions::AUDIO,
    &openai_companions::MODERATIONS,
    &openai_companions::RERANK,
    &gemini_generate_content::FORMAT,
    &bedrock_model_invoke::FORMAT,
    &bedrock_converse::FORMAT,
    &bedrock_count_tokens::FORMAT,
    &google_generate_content::FORMAT,
    &google_raw_predict::FORMAT,
];

/// The format that examples and questions are about which name none.
pub static DEFAULT: &Format = &openai_chat::FORMAT;

/// The format of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Format> {
    ALL.into_iter().find(|format| format.name == name)
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
