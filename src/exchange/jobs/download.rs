//! Files on this node's disk as a caller gets them: they are read as they are sent.

use std::fs::File;
use std::io::{self, Read, Take};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::disk::DiskError;
use super::{Gateway, on_disk};
use crate::wire::body::BodyError;
use crate::wire::{Body, Rejection, body};

/// Bytes of a file that are read at once.
const PIECE: usize = 64 << 10;

/// A piece of a body.
type Piece = Result<Frame<Bytes>, BodyError>;

impl Gateway {
    /// The first `bytes` of a file.
    pub(super) async fn stream(
        &self,
        owner: String,
        id: String,
        bytes: u64,
        kind: HeaderValue,
    ) -> Result<Response<Body>, Rejection> {
        if bytes == 0 {
            // The file begins with the first result.
            return Ok(Response::new(body::empty()));
        }
        let disk = Arc::clone(&self.jobs.disk);
        let opened = on_disk(move || disk.read(&owner, &id)).await?;
        let file = opened.map_err(DiskError::from)?.take(bytes);
        Ok(response(pieces(file, |_, _| {}), bytes, kind))
    }

    /// Pieces of text. Between each two of them stand the lines in the first `bytes` of a file, as elements of a list in
    /// JSON.
    pub(super) async fn stream_between(
        &self,
        owner: String,
        id: String,
        bytes: u64,
        texts: Vec<String>,
    ) -> Result<Response<Body>, Rejection> {
        let disk = Arc::clone(&self.jobs.disk);
        let places = texts.len().saturating_sub(1);
        let opened = on_disk(move || {
            let files = (0..places).map(|_| disk.read(&owner, &id));
            files.collect::<io::Result<Vec<File>>>()
        });
        let mut files = opened.await?.map_err(DiskError::from)?.into_iter();
        let (mut parts, mut length) = (Vec::<BoxStream<'static, Piece>>::new(), 0);
        for text in texts {
            length += text.len() as u64;
            let text = Frame::data(Bytes::from(text));
            parts.push(stream::iter([Ok(text)]).boxed());
            if let Some(file) = files.next() {
                length += bytes;
                parts.push(pieces(file.take(bytes), as_elements).boxed());
            }
        }
        let kind = HeaderValue::from_static("application/json");
        Ok(response(stream::iter(parts).flatten(), length, kind))
    }
}

/// Makes elements of a list of lines. No element has a line break in it, and each line but the last becomes one with a
/// comma behind it.
fn as_elements(piece: &mut [u8], is_last: bool) {
    let end = piece.len() - usize::from(is_last);
    for byte in &mut piece[..end] {
        if *byte == b'\n' {
            *byte = b',';
        }
    }
}

/// The bytes of a file, which `edit` changes: its second argument says whether a piece is the last one. No
/// piece is empty.
fn pieces(
    file: Take<File>,
    edit: fn(&mut [u8], bool),
) -> impl Stream<Item = Piece> + Send + 'static {
    stream::try_unfold(file, move |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            if length > 0 {
                edit(&mut piece, file.limit() == 0);
            }
            Ok::<_, io::Error>((piece, file))
        });
        let (piece, file) = read.await??;
        let piece = Some(Bytes::from(piece)).filter(|piece| !piece.is_empty());
        Ok::<_, BodyError>(piece.map(|piece| (Frame::data(piece), file)))
    })
}

fn response(
    pieces: impl Stream<Item = Piece> + Send + 'static,
    length: u64,
    kind: HeaderValue,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn lines_become_elements_of_a_list_piece_by_piece() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        // One of them ends where a piece does.
        let lines: String = [PIECE - 3, 1, 3 * PIECE, PIECE / 2]
            .map(|length| format!("\"{}\"\n", "x".repeat(length)))
            .concat();
        std::fs::write(&path, format!("{lines}half of a line")).unwrap();
        let file = File::open(path).unwrap().take(lines.len() as u64);
        let read: Vec<_> = pieces(file, as_elements).try_collect().await.unwrap();
        let read = read.into_iter().map(|frame| frame.into_data().unwrap());
        let list = read.collect::<Vec<_>>().concat();
        assert_eq!(list.len(), lines.len());
        let list = format!("[{}]", String::from_utf8(list).unwrap());
        let list: Vec<Value> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.len(), 4);
    }
}
