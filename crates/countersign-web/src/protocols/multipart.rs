//! A streaming reader of `multipart/form-data` (RFC 7578) that holds one network read at a time and bounds everything.
//! The usual crates read all that the network has before they look at it, and take part headers of any length.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::Stream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Longest boundary (RFC 2046).
const LONGEST_BOUNDARY: usize = 70;
/// Longest preamble, and longest headers of one part.
const LONGEST_HEAD: usize = 16 << 10;

/// Why a form can not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    /// It breaks the format; the text says how.
    #[error("{0}")]
    Malformed(&'static str),
    /// It ended before its last boundary.
    #[error("the form ends before its closing boundary")]
    Truncated,
    /// The connection failed.
    #[error("the connection failed")]
    Body(#[source] BoxError),
}

/// What a part says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// The field.
    pub(crate) name: String,
    /// The file name, for file parts.
    pub(crate) filename: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Just after a boundary.
    Boundary,
    /// In the content of a part.
    Content,
    /// After the closing boundary.
    End,
}

/// The reader. Parts come one after the other; a part has to be read to its end before the next one.
pub(crate) struct Multipart<S> {
    stream: S,
    buffer: BytesMut,
    /// CR LF `--` boundary.
    delimiter: Vec<u8>,
    state: State,
    /// Bytes after the closing boundary.
    epilogue: usize,
}

/// The boundary named by a `Content-Type` of `multipart/form-data`.
pub(crate) fn boundary_of(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let fits = (1..=LONGEST_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    fits.then_some(boundary)
}

impl<S, E> Multipart<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BoxError>,
{
    pub(crate) fn new(stream: S, boundary: &str) -> Self {
        // The first boundary may stand at the very beginning, without the line end that precedes the others.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self {
            stream,
            buffer,
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            state: State::Preamble,
            epilogue: 0,
        }
    }

    /// The next part, or `None` after the last one. What is left of the current part is skipped.
    pub(crate) async fn next_part(&mut self) -> Result<Option<PartHead>, FormError> {
        std::future::poll_fn(|context| self.poll_next_part(context)).await
    }

    /// The next bytes of the current part, or `None` at its end.
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, FormError>> {
        loop {
            if self.state != State::Content {
                return Poll::Ready(Ok(None));
            }
            if let Some(at) = find(&self.buffer, &self.delimiter) {
                let content = self.buffer.split_to(at).freeze();
                let _ = self.buffer.split_to(self.delimiter.len());
                self.state = State::Boundary;
                return Poll::Ready(Ok((!content.is_empty()).then_some(content)));
            }
            // The last bytes may be the beginning of the delimiter.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if safe > 0 {
                return Poll::Ready(Ok(Some(self.buffer.split_to(safe).freeze())));
            }
            ready!(self.poll_more(context))?;
        }
    }

    /// The content of the current part as a stream.
    pub(crate) fn content(&mut self) -> Content<'_, S> {
        Content {
            form: self,
            trouble: None,
        }
    }

    fn poll_next_part(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<PartHead>, FormError>> {
        loop {
            match self.state {
                State::Preamble => match find(&self.buffer, &self.delimiter) {
                    Some(at) => {
                        let _ = self.buffer.split_to(at + self.delimiter.len());
                        self.state = State::Boundary;
                    }
                    None if self.buffer.len() > LONGEST_HEAD => {
                        return Poll::Ready(Err(FormError::Malformed(
                            "the form does not begin with its boundary",
                        )));
                    }
                    None => ready!(self.poll_more(context))?,
                },
                State::Content => while ready!(self.poll_chunk(context))?.is_some() {},
                State::Boundary => {
                    if self.buffer.starts_with(b"--") {
                        self.state = State::End;
                        continue;
                    }
                    match head_end(&self.buffer)? {
                        Some((start, end)) => {
                            let head = self.buffer.split_to(end);
                            self.state = State::Content;
                            return Poll::Ready(part_head(&head[start..]).map(Some));
                        }
                        None if self.buffer.len() > LONGEST_HEAD => {
                            return Poll::Ready(Err(FormError::Malformed(
                                "the headers of a part are too long",
                            )));
                        }
                        None => ready!(self.poll_more(context))?,
                    }
                }
                // The epilogue is nothing to us, but a body that breaks off in it was not sent whole.
                State::End => match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                    None => return Poll::Ready(Ok(None)),
                    Some(Err(error)) => return Poll::Ready(Err(FormError::Body(error.into()))),
                    Some(Ok(bytes)) => {
                        self.epilogue += bytes.len();
                        if self.epilogue > LONGEST_HEAD {
                            return Poll::Ready(Err(FormError::Malformed(
                                "the form goes on after its closing boundary",
                            )));
                        }
                    }
                },
            }
        }
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), FormError>> {
        match ready!(Pin::new(&mut self.stream).poll_next(context)) {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(FormError::Body(error.into()))),
            None => Poll::Ready(Err(FormError::Truncated)),
        }
    }
}

/// The content of one part. After an error, [`Content::trouble`] says what was wrong with the form.
pub(crate) struct Content<'a, S> {
    form: &'a mut Multipart<S>,
    trouble: Option<FormError>,
}

impl<S> Content<'_, S> {
    /// What was wrong with the form, where something was.
    pub(crate) fn trouble(&mut self) -> Option<FormError> {
        self.trouble.take()
    }
}

impl<S, E> Stream for Content<'_, S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BoxError>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.form.poll_chunk(context)) {
            Ok(chunk) => chunk.map(Ok),
            Err(error) => {
                let shown = error.to_string();
                this.trouble = Some(error);
                Some(Err(shown.into()))
            }
        })
    }
}

/// Where `needle`, which begins with CR, first stands in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == b'\r') {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Where, after a boundary, the headers begin and end (with their empty line). `None`: not all there yet.
fn head_end(buffer: &[u8]) -> Result<Option<(usize, usize)>, FormError> {
    // Transport padding: spaces before the line end (RFC 2046).
    let padding = buffer
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let rest = &buffer[padding..];
    if rest.len() < 2 {
        return match rest.first() {
            None | Some(b'\r' | b'-') => Ok(None),
            Some(_) => Err(FormError::Malformed("a boundary is followed by other text")),
        };
    }
    if !rest.starts_with(b"\r\n") {
        return Err(FormError::Malformed("a boundary is followed by other text"));
    }
    // From the line end of the boundary itself, so that a part without headers is found too.
    let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(end.map(|end| (padding + 2.min(end + 2), padding + end + 4)))
}

fn part_head(head: &[u8]) -> Result<PartHead, FormError> {
    let head = std::str::from_utf8(head)
        .map_err(|_| FormError::Malformed("the headers of a part are not UTF-8"))?;
    let mut found = None;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .ok_or(FormError::Malformed("a part has a line that is no header"))?;
        if name.eq_ignore_ascii_case("content-transfer-encoding") {
            let value = value.trim();
            if !["binary", "8bit", "7bit"]
                .iter()
                .any(|plain| value.eq_ignore_ascii_case(plain))
            {
                return Err(FormError::Malformed("a part is encoded; send it as it is"));
            }
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            if found.is_some() {
                return Err(FormError::Malformed(
                    "a part has two Content-Disposition headers",
                ));
            }
            found = Some(value);
        }
    }
    let disposition = found.ok_or(FormError::Malformed(
        "a part has no Content-Disposition header",
    ))?;
    let (kind, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormError::Malformed("a part is not form-data"));
    }
    let name = parameter(parameters, "name").ok_or(FormError::Malformed("a part has no name"))?;
    let filename = parameter(parameters, "filename*")
        .and_then(|value| extended(&value))
        .or_else(|| parameter(parameters, "filename"));
    Ok(PartHead { name, filename })
}

/// The value of one parameter of a header, unquoted.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let after = after.trim_start();
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// A quoted string up to its closing quote. A backslash escapes a quote or a backslash and is itself otherwise, since
/// some clients send Windows paths unescaped.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' if matches!(characters.peek(), Some((_, '"' | '\\'))) => {
                value.extend(characters.next().map(|(_, escaped)| escaped));
            }
            c => value.push(c),
        }
    }
    None
}

/// RFC 5987: `utf-8''percent-encoded`.
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_encoding::percent_decode_str(encoded)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pieces = futures::stream::Iter<std::vec::IntoIter<Result<Bytes, std::io::Error>>>;

    /// The form cut into pieces of `size` bytes.
    fn reader(body: &[u8], size: usize) -> Multipart<Pieces> {
        let pieces: Vec<_> = body
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Multipart::new(futures::stream::iter(pieces), "XX")
    }

    async fn read_all(mut form: Multipart<Pieces>) -> Result<Vec<(PartHead, Vec<u8>)>, FormError> {
        let mut parts = Vec::new();
        while let Some(head) = form.next_part().await? {
            let mut content = Vec::new();
            while let Some(chunk) = std::future::poll_fn(|context| form.poll_chunk(context)).await?
            {
                content.extend_from_slice(&chunk);
            }
            parts.push((head, content));
        }
        Ok(parts)
    }

    const FORM: &[u8] = b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--X\r\n--XX  \r\n\
        content-type: application/octet-stream\r\nContent-Disposition: form-data; name=content; filename=\"x-1 \\\"y\\\".whl\"\r\n\
        \r\n\r\n\r\n--XX\r\nContent-Disposition: form-data; name=\"e\"; filename*=utf-8''%C3%A9.whl\r\n\r\n\r\n--XX--\r\nepilogue";

    #[tokio::test]
    async fn parts_are_the_same_however_the_network_cuts_them() {
        for size in 1..FORM.len() {
            let parts = read_all(reader(FORM, size)).await.unwrap();
            assert_eq!(parts.len(), 3);
            assert_eq!(
                parts[0],
                (
                    PartHead {
                        name: "a".into(),
                        filename: None
                    },
                    b"one\r\n--X".to_vec()
                )
            );
            let head = PartHead {
                name: "content".into(),
                filename: Some("x-1 \"y\".whl".into()),
            };
            assert_eq!(parts[1], (head, b"\r\n".to_vec()));
            assert_eq!(
                parts[2],
                (
                    PartHead {
                        name: "e".into(),
                        filename: Some("é.whl".into())
                    },
                    Vec::new()
                )
            );
        }
    }

    #[tokio::test]
    async fn a_part_that_is_not_read_is_skipped() {
        let mut form = reader(FORM, 7);
        for expected in ["a", "content", "e"] {
            assert_eq!(form.next_part().await.unwrap().unwrap().name, expected);
        }
        assert_eq!(form.next_part().await.unwrap(), None);
    }

    #[tokio::test]
    async fn every_cut_short_form_is_an_error() {
        let closing = FORM.len() - b"\r\nepilogue".len();
        for length in 0..closing {
            assert!(
                read_all(reader(&FORM[..length], 11)).await.is_err(),
                "{length}"
            );
        }
        assert!(read_all(reader(&FORM[..closing], 11)).await.is_ok());
    }

    #[tokio::test]
    async fn malformed_forms_are_refused() {
        for body in [
            &b"--XX\r\n\r\nno headers\r\n--XX--"[..],
            b"--XXY\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--XX--",
            b"--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--XX--",
            b"--XX\r\nContent-Disposition: form-data\r\n\r\n\r\n--XX--",
            b"--XX\r\nnonsense\r\n\r\n\r\n--XX--",
            b"--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n\r\n--XX--",
            b"--XX\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--XX--",
            b"--XX\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n--XX--",
            b"--XX\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n\r\n--XX--",
        ] {
            for size in [1, 5, 1_000] {
                let outcome = read_all(reader(body, size)).await;
                assert!(matches!(outcome, Err(FormError::Malformed(_))), "{outcome:?} {}", String::from_utf8_lossy(body));
            }
        }
    }

    #[tokio::test]
    async fn preamble_and_part_headers_have_a_limit() {
        let mut long = b"--XX\r\nContent-Disposition: form-data; name=a; x=".to_vec();
        long.extend(std::iter::repeat_n(b'x', 1 << 20));
        for body in [vec![b'x'; 1 << 20], long] {
            let outcome = read_all(reader(&body, 4_096)).await;
            assert!(
                matches!(outcome, Err(FormError::Malformed(_))),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn boundaries_are_read_from_the_content_type() {
        for (header, boundary) in [
            ("multipart/form-data; boundary=XX", Some("XX")),
            (
                "Multipart/Form-Data; charset=utf-8; boundary=\"a b;c\"",
                Some("a b;c"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=XX", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary_of(header).as_deref(), boundary, "{header}");
        }
        assert_eq!(
            boundary_of(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
            None
        );
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(
            body in proptest::collection::vec(prop_oneof![
                Just(b"--XX".to_vec()), Just(b"\r\n".to_vec()), Just(b"--".to_vec()), Just(b"\"".to_vec()),
                Just(b"Content-Disposition: form-data; name=\"a\"".to_vec()), Just(b"; filename*=utf-8''%".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..9),
            ], 0..40),
            size in 1..50_usize,
        ) {
            let _ = block_on(read_all(reader(&body.concat(), size)));
        }

        #[test]
        fn whatever_is_sent_in_parts_arrives(
            parts in proptest::collection::vec(("[a-z:_]{1,9}", proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), any::<u8>()], 0..60)), 0..6),
            size in 1..50_usize,
        ) {
            let mut body = Vec::new();
            for (name, content) in &parts {
                body.extend_from_slice(format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
                body.extend_from_slice(content);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--XX--\r\n");
            prop_assume!(parts.iter().all(|(_, content)| find(&[b"\r\n", &content[..], b"\r\n"].concat(), b"\r\n--XX").is_none()));
            let read = block_on(read_all(reader(&body, size))).unwrap();
            let read: Vec<_> = read.into_iter().map(|(head, content)| (head.name, content)).collect();
            prop_assert_eq!(read, parts);
        }
    }
}
