//! Requests for embeddings. They have a form of their own between the formats, because they aren't
//! conversations: texts on the way there, and a vector for each on the way back.

use super::{Failure, Inbound, Json, LONGEST, Object, Outbound, Translator, Untranslatable};

/// Texts for which a caller wants vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// The model, as the caller named it.
    pub model: String,
    /// The path at which the caller asks, where that decides the form of the response.
    pub path: String,
    /// The texts.
    pub texts: Vec<String>,
    /// How many numbers a vector has; `None` is the model's default.
    pub dimensions: Option<u64>,
    /// Fields of the caller's request that were left out, because its API calls them hints.
    pub dropped: Vec<String>,
}

/// What a provider made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    /// A vector for each text, in their order.
    pub vectors: Vec<Json>,
    /// Tokens read.
    pub input: Option<u64>,
}

/// How a format's requests are read, and its responses written.
#[derive(Clone, Copy, Debug)]
pub struct VectorCaller {
    /// Reads a caller's request.
    pub read_request: fn(&Inbound<'_>) -> Result<Texts, Untranslatable>,
    /// Writes the response.
    pub write_response: fn(&Texts, Vectors) -> Object,
}

/// How a format's requests are written, and its responses read.
#[derive(Clone, Copy, Debug)]
pub struct VectorProvider {
    /// Writes a request for a provider.
    pub write_request: fn(&Texts) -> Outbound,
    /// Reads the response.
    pub read_response: fn(&Json) -> Result<Vectors, Failure>,
}

/// Translates a response with vectors.
pub struct VectorTranslator {
    caller: &'static VectorCaller,
    served: &'static VectorProvider,
    texts: Texts,
    body: Vec<u8>,
    response: Object,
}

impl VectorTranslator {
    /// For the response to a caller who asked for the vectors of these texts.
    #[must_use]
    pub fn new(
        caller: &'static VectorCaller,
        served: &'static VectorProvider,
        texts: Texts,
    ) -> Self {
        Self {
            caller,
            served,
            texts,
            body: Vec::new(),
            response: Object::default(),
        }
    }
}

impl Translator for VectorTranslator {
    fn feed(&mut self, piece: &[u8], _: &mut Vec<u8>) -> Result<(), Failure> {
        if self.body.len() + piece.len() > LONGEST {
            return Err(Failure::too_long());
        }
        self.body.extend_from_slice(piece);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let body = Json::read(&std::mem::take(&mut self.body));
        let body = body.map_err(|_| Failure::new("the provider's response isn't JSON"))?;
        let vectors = (self.served.read_response)(&body)?;
        if vectors.vectors.len() != self.texts.texts.len() {
            return Err(Failure::new(
                "the provider's response doesn't have a vector for each text",
            ));
        }
        self.response = (self.caller.write_response)(&self.texts, vectors);
        out.extend_from_slice(self.response.to_string().as_bytes());
        Ok(())
    }

    fn response(&self) -> Object {
        self.response.clone()
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn takes_events(&self) -> bool {
        false
    }

    fn is_held(&self) -> bool {
        true
    }

    fn has_begun(&self) -> bool {
        !self.response.is_empty()
    }

    fn is_cut(&self) -> bool {
        false
    }
}
