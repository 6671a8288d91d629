//! Tokens: one text for each.
#![no_main]

use countersign_trust::token::{Token, TokenKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(token) = Token::parse(text)
    {
        assert_eq!(token.reveal(), text);
    }
    if let Ok(random) = <[u8; 32]>::try_from(data) {
        let token = Token::from_random(TokenKind::Workflow, random);
        assert_eq!(
            Token::parse(&token.reveal()).map(|read| read.hash()),
            Ok(token.hash())
        );
    }
});
