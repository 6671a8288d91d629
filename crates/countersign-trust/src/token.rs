//! API tokens: `csgn_` + kind + `_` + 43 base62 characters of secret + 6 base62 characters of CRC-32.
//!
//! The prefix lets secret scanners find leaked tokens; the checksum lets them, and us, tell a token from a text
//! that merely looks like one without asking the database. Only [`Token::hash`] is ever stored.

use std::fmt;

use crate::digest::Sha256;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: &str = "csgn_";
/// `csgn_`, the kind, `_`.
const HEAD_LENGTH: usize = PREFIX.len() + 2;
/// 62^43 is the first power of 62 above 2^256.
const SECRET_LENGTH: usize = 43;
/// 62^6 is the first power of 62 above 2^32.
const CHECKSUM_LENGTH: usize = 6;
const LENGTH: usize = HEAD_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH;

/// Who or what holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// A person's token, letter `u`.
    User,
    /// A short-lived token of a workflow (Trusted Publishing), letter `w`.
    Workflow,
    /// For staged publishing and everything else, letter `s`.
    Staged,
}

impl TokenKind {
    /// The letter that stands for the kind in the token's text.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::User => 'u',
            Self::Workflow => 'w',
            Self::Staged => 's',
        }
    }

    fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'u' => Some(Self::User),
            b'w' => Some(Self::Workflow),
            b's' => Some(Self::Staged),
            _ => None,
        }
    }
}

/// Why a text is not a token of ours. Says nothing of the text itself, since that may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Does not begin with `csgn_`, a known kind letter and `_`.
    #[error("not a Countersign token: it must begin with csgn_u_, csgn_w_ or csgn_s_")]
    Prefix,
    /// The length is not that of a token, as after a truncated copy and paste.
    #[error(
        "the token is {found} bytes long and must be {LENGTH}: was it cut off or were characters added when copying?"
    )]
    Length {
        /// Length of the text in bytes.
        found: usize,
    },
    /// A character outside `0-9A-Za-z` after the prefix.
    #[error(
        "the token has a character other than letters and digits after its prefix: copy it again"
    )]
    Alphabet,
    /// The checksum does not fit, as after a typing error.
    #[error("the token's checksum is wrong: a character was changed; copy it again")]
    Checksum,
}

/// A secret API token. Formatting it with `{:?}` shows the kind only; [`Token::reveal`] gives the text.
#[derive(Clone)]
pub struct Token {
    kind: TokenKind,
    text: String,
}

impl Token {
    /// How long the text of every token is.
    pub const LENGTH: usize = LENGTH;

    /// The token of these 32 random bytes, which must come from a cryptographic random source.
    #[must_use]
    pub fn from_random(kind: TokenKind, random: [u8; 32]) -> Self {
        let mut text = format!("{PREFIX}{}_", kind.letter());
        text.push_str(&base62(&random, SECRET_LENGTH));
        let checksum = crc32fast::hash(text.as_bytes());
        text.push_str(&base62(&checksum.to_be_bytes(), CHECKSUM_LENGTH));
        Self { kind, text }
    }

    /// Recognises a token by prefix, length, alphabet and checksum. Whether it was ever issued is another matter.
    ///
    /// # Errors
    /// [`TokenError`] names the first of the four that does not hold.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let bytes = text.as_bytes();
        let kind = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.as_bytes().first_chunk::<2>())
            .filter(|head| head[1] == b'_')
            .and_then(|head| TokenKind::from_letter(head[0]))
            .ok_or(TokenError::Prefix)?;
        if bytes.len() != LENGTH {
            return Err(TokenError::Length { found: bytes.len() });
        }
        if !bytes[HEAD_LENGTH..].iter().all(u8::is_ascii_alphanumeric) {
            return Err(TokenError::Alphabet);
        }
        let (signed, checksum) = text.split_at(LENGTH - CHECKSUM_LENGTH);
        if base62(
            &crc32fast::hash(signed.as_bytes()).to_be_bytes(),
            CHECKSUM_LENGTH,
        ) != checksum
        {
            return Err(TokenError::Checksum);
        }
        Ok(Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The secret text, to be shown once to its owner and never logged or stored.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.text.clone()
    }

    /// SHA-256 of the whole text: what is stored and looked up. The secret has 256 random bits, so no salt is needed.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.text.as_bytes())
    }

    /// Prefix and last four characters (part of the checksum), safe to show in lists: `csgn_u_…1a2B`.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("{}…{}", &self.text[..HEAD_LENGTH], &self.text[LENGTH - 4..])
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?}, secret)", self.kind)
    }
}

/// Big-endian base62 of `bytes`, left-padded with `0` to `width`, which must be wide enough.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![ALPHABET[0]; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62)
                .expect("the remainder is below 62, so the quotient is below 256");
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    debug_assert!(
        number.iter().all(|byte| *byte == 0),
        "the width holds the number"
    );
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_fixed_width_and_round_trips() {
        for (kind, random) in [
            (TokenKind::User, [0; 32]),
            (TokenKind::Workflow, [255; 32]),
            (TokenKind::Staged, [7; 32]),
        ] {
            let token = Token::from_random(kind, random);
            assert_eq!(token.reveal().len(), 56);
            let parsed = Token::parse(&token.reveal()).unwrap();
            assert_eq!(
                (parsed.kind(), parsed.hash()),
                (kind, Sha256::of(token.reveal().as_bytes()))
            );
        }
        assert!(
            Token::from_random(TokenKind::User, [0; 32])
                .reveal()
                .starts_with(&format!("csgn_u_{}", "0".repeat(43)))
        );
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text =
            Token::from_random(TokenKind::User, *b"0123456789abcdef0123456789abcdef").reveal();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            assert!(
                Token::parse(&String::from_utf8(bytes).unwrap()).is_err(),
                "position {position}"
            );
        }
        assert_eq!(
            Token::parse(&text[..50]).unwrap_err(),
            TokenError::Length { found: 50 }
        );
        assert_eq!(Token::parse("ghp_abc").unwrap_err(), TokenError::Prefix);
        assert_eq!(Token::parse("csgn_x_abc").unwrap_err(), TokenError::Prefix);
        assert_eq!(
            Token::parse(&format!("{}+", &text[..55])).unwrap_err(),
            TokenError::Alphabet
        );
        assert_eq!(
            Token::parse(&format!("csgn_u_{}é", &text[7..54])).unwrap_err(),
            TokenError::Alphabet
        );
    }

    #[test]
    fn neither_debug_nor_hint_shows_the_secret() {
        let token = Token::from_random(TokenKind::User, [42; 32]);
        let secret = &token.reveal()[7..50];
        assert!(!format!("{token:?}").contains(&secret[..8]));
        assert_eq!(token.hint().chars().count(), 12);
        assert!(!token.hint().contains(&secret[..4]));
    }
}
