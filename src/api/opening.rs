//! How a conversation began. APIs without a session send the whole conversation each time, so
//! what its turns have in common is its beginning: the instructions and the first thing that
//! the user said. `docs/SESSIONS.md` tells what follows from that.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Stands for the beginning of a conversation: `instructions` as they came, where a format keeps
/// them apart, and `messages`, an array of objects with a `role`, up to the first that is the
/// user's. A plain string counts as one message. `None` if the user says nothing.
pub(super) fn of(instructions: Option<&[u8]>, messages: &[u8]) -> Option<String> {
    let mut digest = Sha256::new();
    digest.update(instructions.unwrap_or_default());
    digest.update([0]);
    if messages.first() == Some(&b'"') {
        digest.update(messages);
    } else {
        let mut found = false;
        let mut from = serde_json::Deserializer::from_slice(messages);
        // Ends with an error once the user has spoken, so that the rest is not read.
        let _ = from.deserialize_seq(Messages {
            digest: &mut digest,
            found: &mut found,
        });
        if !found {
            return None;
        }
    }
    let first = digest.finalize().first_chunk().copied().unwrap_or_default();
    Some(format!("{:016x}", u64::from_be_bytes(first)))
}

struct Messages<'d> {
    digest: &'d mut Sha256,
    found: &'d mut bool,
}

impl<'de> Visitor<'de> for Messages<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(message) = seq.next_element::<Message<'de>>()? {
            let (role, said) = (message.role.unwrap_or("user"), message.said);
            self.digest.update(role);
            self.digest.update([0]);
            self.digest.update(said.map_or("", RawValue::get));
            self.digest.update([0]);
            if role == "user" {
                *self.found = true;
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }
}

/// A message's role, and what it says: `content` or `parts`.
struct Message<'a> {
    role: Option<&'a str>,
    said: Option<&'a RawValue>,
}

impl<'de> serde::Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Message<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
                let mut message = Message {
                    role: None,
                    said: None,
                };
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match &*key {
                        "role" => message.role = Some(map.next_value()?),
                        "content" | "parts" => message.said = Some(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(message)
            }
        }
        from.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turns_of_a_conversation_share_its_opening() {
        let first = br#"[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]"#;
        let second = br#"[{"content":"be brief","role":"system"}, {"role":"user","content":"hi"},
            {"role":"assistant","content":"hello"},{"role":"user","content":"more"}]"#;
        let opening = of(None, first).unwrap();
        assert_eq!(opening.len(), 16);
        assert_eq!(of(None, second).unwrap(), opening);
        let other = br#"[{"role":"system","content":"be brief"},{"role":"user","content":"ho"}]"#;
        assert_ne!(of(None, other).unwrap(), opening);
        assert_ne!(of(Some(b"\"more\""), first).unwrap(), opening);
    }

    #[test]
    fn without_a_user_there_is_none() {
        for messages in [
            "[]",
            r#"[{"role":"system","content":"x"}]"#,
            "{}",
            "[1]",
            "",
        ] {
            assert_eq!(of(None, messages.as_bytes()), None, "{messages}");
        }
        assert!(of(None, br#""just text""#).is_some());
    }
}
