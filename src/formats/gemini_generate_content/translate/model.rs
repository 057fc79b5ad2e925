//! What a model's name tells.

/// The generation of Gemini that a name tells: 2 of `gemini-2.5-flash`.
pub(super) fn generation(model: &str) -> Option<u32> {
    let (_, rest) = model.split_once("gemini-")?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next();
    digits?.parse().ok()
}
