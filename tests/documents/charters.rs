//! Charters: what a guild is, in the bounds that it has.

use super::*;

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
