//! Charters: what a guild is, in the bounds that it has.

use zerostate::config::Admit;
use zerostate::document::Charter;

use super::*;

fn charter() -> Charter {
    Charter {
        name: "count the words".to_owned(),
        creator: creator().did().clone(),
        created_at: noon(),
        expires_at: noon() + Charter::TTL,
        capacity: Charter::CAPACITY,
        admit: Admit::Ask,
        nonce: "00112233445566778899aabbccddeeff".to_owned(),
    }
}

#[test]
fn a_charter_comes_back_as_it_was_signed_and_only_by_its_creator() {
    let signed = Envelope::sign(&creator(), &charter()).unwrap();
    let any = AnyEnvelope::open(signed.bytes()).unwrap();
    assert_eq!((any.kind(), any.id(), any.signer()), (Kind::Charter, signed.id(), creator().did()));
    assert_eq!(Envelope::<Charter>::open(signed.bytes()).unwrap().document(), &charter());
    assert!(matches!(Envelope::sign(&witness(), &charter()), Err(DocumentError::Author { .. })));
}

#[test]
fn what_is_out_of_bounds_is_named_all_at_once() {
    let wrong = Charter {
        name: String::new(),
        expires_at: noon(),
        capacity: 257,
        nonce: "ABC".to_owned(),
        ..charter()
    };
    let Err(DocumentError::Faults(faults)) = Envelope::sign(&creator(), &wrong) else {
        panic!("it was signed")
    };
    let fields: Vec<&str> = faults.0.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["name", "expires_at", "capacity", "nonce"]);
    let long = Charter { expires_at: noon() + Duration::from_secs(7 * 24 * 3600 + 1), ..charter() };
    assert!(Envelope::sign(&creator(), &long).is_err());
}
