//! Fields as bytes: numbers of variable length, texts and lists behind their length, no names. A text that
//! records share stands there once.

use std::collections::HashMap;
use std::ops::Deref;

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

impl Plain {
    pub(super) fn with_capacity(bytes: usize) -> Plain {
        Plain {
            bytes: Vec::with_capacity(bytes),
            texts: HashMap::default(),
        }
    }
}

/// A text of records that are folded together. Texts that are equal have the same number, so that comparing
/// numbers is enough.
#[derive(Clone, Copy)]
pub(in crate::records) struct Shared<'b> {
    pub(in crate::records) number: usize,
    pub(in crate::records) text: &'b str,
}

impl Deref for Shared<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.text
    }
}

impl std::fmt::Debug for Shared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

/// The numbers of texts.
#[derive(Default)]
pub(in crate::records) struct Texts<'b>(HashMap<&'b str, usize>);

impl<'b> Texts<'b> {
    fn share(&mut self, text: &'b str) -> Shared<'b> {
        let next = self.0.len();
        let number = *self.0.entry(text).or_insert(next);
        Shared { number, text }
    }
}

/// What is still to be read.
pub(super) struct Rest<'b, 't> {
    pub(super) bytes: &'b [u8],
    /// All that is read.
    whole: &'b Bytes,
    /// The version that wrote it.
    pub(super) version: u8,
    /// The texts that stood before, in their order.
    before: Vec<Shared<'b>>,
    texts: &'t mut Texts<'b>,
}

impl<'b, 't> Rest<'b, 't> {
    pub(super) fn new(whole: &'b Bytes, version: u8, texts: &'t mut Texts<'b>) -> Self {
        Self {
            bytes: whole,
            whole,
            version,
            before: Vec::new(),
            texts,
        }
    }
}

/// What is written one behind the other.
pub(super) trait Put {
    fn put(&self, to: &mut Plain);
}

/// What is read, in the order in which it was written.
pub(super) trait Get<'b>: Sized {
    /// `None` where it isn't there.
    fn get(from: &mut Rest<'b, '_>) -> Option<Self>;
}

pub(super) fn put_bytes(bytes: &[u8], to: &mut Plain) {
    (bytes.len() as u64).put(to);
    to.bytes.extend_from_slice(bytes);
}

/// A text that was there before is its place among them.
pub(super) fn put_shared(text: &str, to: &mut Plain) {
    let known = to.texts.get(text).copied();
    known.unwrap_or_default().put(to);
    if known.is_none() {
        to.texts.insert(text.into(), to.texts.len() as u64 + 1);
        put_bytes(text.as_bytes(), to);
    }
}

pub(super) fn put_list<T: Put>(list: &[T], to: &mut Plain) {
    (list.len() as u64).put(to);
    for one in list {
        one.put(to);
    }
}

/// Reads a number from the start of `bytes`.
pub(super) fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

impl Put for u64 {
    fn put(&self, to: &mut Plain) {
        let mut left = *self;
        while left >= 0x80 {
            to.bytes.push(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        to.bytes.push(left.to_le_bytes()[0]);
    }
}

impl Get<'_> for u64 {
    fn get(from: &mut Rest<'_, '_>) -> Option<u64> {
        number(&mut from.bytes)
    }
}

impl Put for i64 {
    /// Small ones below zero are short too.
    fn put(&self, to: &mut Plain) {
        ((self << 1) ^ (self >> 63)).cast_unsigned().put(to);
    }
}

impl Get<'_> for i64 {
    fn get(from: &mut Rest<'_, '_>) -> Option<i64> {
        let number = u64::get(from)?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}

/// Smaller numbers, as larger ones.
macro_rules! small {
    ($($type:ty),*) => {$(
        impl Put for $type {
            fn put(&self, to: &mut Plain) {
                u64::from(*self).put(to);
            }
        }

        impl Get<'_> for $type {
            fn get(from: &mut Rest<'_, '_>) -> Option<$type> {
                <$type>::try_from(u64::get(from)?).ok()
            }
        }
    )*};
}

small!(u16, u32);

impl Put for u8 {
    fn put(&self, to: &mut Plain) {
        to.bytes.push(*self);
    }
}

impl Get<'_> for u8 {
    fn get(from: &mut Rest<'_, '_>) -> Option<u8> {
        let (byte, rest) = from.bytes.split_first()?;
        from.bytes = rest;
        Some(*byte)
    }
}

impl Put for bool {
    fn put(&self, to: &mut Plain) {
        to.bytes.push((*self).into());
    }
}

impl Get<'_> for bool {
    fn get(from: &mut Rest<'_, '_>) -> Option<bool> {
        Some(u64::get(from)? != 0)
    }
}

impl Put for f64 {
    fn put(&self, to: &mut Plain) {
        to.bytes.extend(self.to_bits().to_le_bytes());
    }
}

impl Get<'_> for f64 {
    fn get(from: &mut Rest<'_, '_>) -> Option<f64> {
        let (bytes, rest) = from.bytes.split_first_chunk()?;
        from.bytes = rest;
        Some(f64::from_bits(u64::from_le_bytes(*bytes)))
    }
}

impl Put for String {
    fn put(&self, to: &mut Plain) {
        put_bytes(self.as_bytes(), to);
    }
}

impl<'b> Get<'b> for &'b [u8] {
    fn get(from: &mut Rest<'b, '_>) -> Option<&'b [u8]> {
        let length = usize::try_from(u64::get(from)?).ok()?;
        let (bytes, rest) = from.bytes.split_at_checked(length)?;
        from.bytes = rest;
        Some(bytes)
    }
}

impl<'b> Get<'b> for &'b str {
    fn get(from: &mut Rest<'b, '_>) -> Option<&'b str> {
        str::from_utf8(Get::get(from)?).ok()
    }
}

impl Put for Text {
    fn put(&self, to: &mut Plain) {
        put_shared(self, to);
    }
}

impl<'b> Get<'b> for Shared<'b> {
    fn get(from: &mut Rest<'b, '_>) -> Option<Shared<'b>> {
        let place = usize::try_from(u64::get(from)?).ok()?;
        if let Some(before) = place.checked_sub(1) {
            return from.before.get(before).copied();
        }
        let text = Get::get(from)?;
        let text = from.texts.share(text);
        from.before.push(text);
        Some(text)
    }
}

impl Put for HeaderList {
    fn put(&self, to: &mut Plain) {
        (self.iter().count() as u64).put(to);
        for (name, value) in self.iter() {
            put_bytes(name.as_bytes(), to);
            put_bytes(value.as_bytes(), to);
        }
    }
}

impl Get<'_> for HeaderList {
    fn get(from: &mut Rest<'_, '_>) -> Option<HeaderList> {
        let mut list = HeaderList::default();
        for _ in 0..u64::get(from)? {
            let name = <&str>::get(from)?;
            list.push(name, <&str>::get(from)?);
        }
        Some(list)
    }
}

impl Get<'_> for Bytes {
    /// A part of what is read, not a copy.
    fn get(from: &mut Rest<'_, '_>) -> Option<Bytes> {
        let part = <&[u8]>::get(from)?;
        Some(from.whole.slice_ref(part))
    }
}

impl<T: Put> Put for Option<T> {
    fn put(&self, to: &mut Plain) {
        self.is_some().put(to);
        if let Some(one) = self {
            one.put(to);
        }
    }
}

impl<'b, T: Get<'b>> Get<'b> for Option<T> {
    fn get(from: &mut Rest<'b, '_>) -> Option<Option<T>> {
        if bool::get(from)? {
            return T::get(from).map(Some);
        }
        Some(None)
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, to: &mut Plain) {
        put_list(self, to);
    }
}

impl<'b, T: Get<'b>> Get<'b> for Vec<T> {
    fn get(from: &mut Rest<'b, '_>) -> Option<Vec<T>> {
        let count = u64::get(from)?;
        (0..count).map(|_| T::get(from)).collect()
    }
}

impl Put for (String, String) {
    fn put(&self, to: &mut Plain) {
        self.0.put(to);
        self.1.put(to);
    }
}

impl<'b> Get<'b> for (Shared<'b>, Shared<'b>) {
    /// Each stands there as a text that isn't shared.
    fn get(from: &mut Rest<'b, '_>) -> Option<Self> {
        let (name, value) = (Get::get(from)?, Get::get(from)?);
        Some((from.texts.share(name), from.texts.share(value)))
    }
}
