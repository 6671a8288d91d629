//! What an envelope's signature covers (DSSE, version 1).

/// The bytes that are signed: the type and the payload with their lengths in decimal, so that nothing can move from
/// one to the other.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
