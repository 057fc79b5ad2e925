//! Fields as bytes: numbers of variable length, texts and lists behind their length, no names. A text that
//! records share stands there once.

use std::collections::HashMap;

use bytes::Bytes;

use crate::base::text::Text;
use crate::wire::HeaderList;

/// What is written.
#[derive(Default)]
pub(super) struct Plain {
    pub(super) bytes: Vec<u8>,
    /// The texts that stand there, by their places, from 1 on.
    texts: HashMap<Text, u64>,
}

/// What is still to be read.
#[derive(Default)]
pub(super) struct Rest<'b> {
    pub(super) bytes: &'b [u8],
    /// The texts that stood before, in their order.
    texts: Vec<Text>,
}

impl<'b> Rest<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            texts: Vec::new(),
        }
    }
}

/// What is written one behind the other, and read in the same order.
pub(super) trait Field: Sized {
    fn put(&self, to: &mut Plain);
    /// `None` where it isn't there.
    fn get(from: &mut Rest<'_>) -> Option<Self>;
}

pub(super) fn put_bytes(bytes: &[u8], to: &mut Plain) {
    (bytes.len() as u64).put(to);
    to.bytes.extend_from_slice(bytes);
}

pub(super) fn get_bytes<'b>(from: &mut Rest<'b>) -> Option<&'b [u8]> {
    let length = usize::try_from(u64::get(from)?).ok()?;
    let (bytes, rest) = from.bytes.split_at_checked(length)?;
    from.bytes = rest;
    Some(bytes)
}

pub(super) fn put_list<T: Field>(list: &[T], to: &mut Plain) {
    (list.len() as u64).put(to);
    for one in list {
        one.put(to);
    }
}

impl Field for u64 {
    fn put(&self, to: &mut Plain) {
        let mut left = *self;
        while left >= 0x80 {
            to.bytes.push(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        to.bytes.push(left.to_le_bytes()[0]);
    }

    fn get(from: &mut Rest<'_>) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = from.bytes.split_first()?;
            from.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

impl Field for i64 {
    /// Small ones below zero are short too.
    fn put(&self, to: &mut Plain) {
        ((self << 1) ^ (self >> 63)).cast_unsigned().put(to);
    }

    fn get(from: &mut Rest<'_>) -> Option<i64> {
        let number = u64::get(from)?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}

/// Smaller numbers, as larger ones.
macro_rules! small {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, to: &mut Plain) {
                u64::from(*self).put(to);
            }

            fn get(from: &mut Rest<'_>) -> Option<$type> {
                <$type>::try_from(u64::get(from)?).ok()
            }
        }
    )*};
}

small!(u16, u32);

impl Field for bool {
    fn put(&self, to: &mut Plain) {
        to.bytes.push((*self).into());
    }

    fn get(from: &mut Rest<'_>) -> Option<bool> {
        Some(u64::get(from)? != 0)
    }
}

impl Field for f64 {
    fn put(&self, to: &mut Plain) {
        to.bytes.extend(self.to_bits().to_le_bytes());
    }

    fn get(from: &mut Rest<'_>) -> Option<f64> {
        let (bytes, rest) = from.bytes.split_first_chunk()?;
        from.bytes = rest;
        Some(f64::from_bits(u64::from_le_bytes(*bytes)))
    }
}

impl Field for String {
    fn put(&self, to: &mut Plain) {
        put_bytes(self.as_bytes(), to);
    }

    fn get(from: &mut Rest<'_>) -> Option<String> {
        String::from_utf8(get_bytes(from)?.to_vec()).ok()
    }
}

impl Field for Text {
    /// One that was there before is its place among them.
    fn put(&self, to: &mut Plain) {
        let known = to.texts.get(self.as_str()).copied();
        known.unwrap_or_default().put(to);
        if known.is_none() {
            to.texts.insert(self.clone(), to.texts.len() as u64 + 1);
            put_bytes(self.as_bytes(), to);
        }
    }

    fn get(from: &mut Rest<'_>) -> Option<Text> {
        let place = usize::try_from(u64::get(from)?).ok()?;
        if let Some(known) = place.checked_sub(1) {
            return from.texts.get(known).cloned();
        }
        let text = Text::from(str::from_utf8(get_bytes(from)?).ok()?);
        from.texts.push(text.clone());
        Some(text)
    }
}

impl Field for HeaderList {
    fn put(&self, to: &mut Plain) {
        (self.iter().count() as u64).put(to);
        for (name, value) in self.iter() {
            put_bytes(name.as_bytes(), to);
            put_bytes(value.as_bytes(), to);
        }
    }

    fn get(from: &mut Rest<'_>) -> Option<HeaderList> {
        let mut list = HeaderList::default();
        for _ in 0..u64::get(from)? {
            let name = str::from_utf8(get_bytes(from)?).ok()?;
            list.push(name, str::from_utf8(get_bytes(from)?).ok()?);
        }
        Some(list)
    }
}

impl Field for Bytes {
    fn put(&self, to: &mut Plain) {
        put_bytes(self, to);
    }

    fn get(from: &mut Rest<'_>) -> Option<Bytes> {
        get_bytes(from).map(Bytes::copy_from_slice)
    }
}

impl Field for u8 {
    fn put(&self, to: &mut Plain) {
        to.bytes.push(*self);
    }

    fn get(from: &mut Rest<'_>) -> Option<u8> {
        let (byte, rest) = from.bytes.split_first()?;
        from.bytes = rest;
        Some(*byte)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, to: &mut Plain) {
        self.is_some().put(to);
        if let Some(one) = self {
            one.put(to);
        }
    }

    fn get(from: &mut Rest<'_>) -> Option<Option<T>> {
        if bool::get(from)? {
            return T::get(from).map(Some);
        }
        Some(None)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, to: &mut Plain) {
        put_list(self, to);
    }

    fn get(from: &mut Rest<'_>) -> Option<Vec<T>> {
        let count = u64::get(from)?;
        (0..count).map(|_| T::get(from)).collect()
    }
}

impl Field for (String, String) {
    fn put(&self, to: &mut Plain) {
        self.0.put(to);
        self.1.put(to);
    }

    fn get(from: &mut Rest<'_>) -> Option<(String, String)> {
        Some((Field::get(from)?, Field::get(from)?))
    }
}
