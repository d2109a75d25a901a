//! A receipt with all that the node has to prove it, as a file's text; the command line and the console write it.

use std::collections::HashSet;

use zerostate::api::{Answer, Answering, ApiError, Command, ErrorKind};
use zerostate::dag::Walk;
use zerostate::document::{ARTIFACT_MAX, AnyEnvelope, Stdin};
use zerostate::proof::Bundle;

/// The whole id of the receipt, and the bundle.
///
/// # Errors
/// Those of the node; what could not be put in, and how to get it.
pub async fn bundled(
    node: &dyn Answering,
    receipt_id: String,
    with_artifact: bool,
) -> Result<(String, String), ApiError> {
    let Answer::Evidence { receipt_id, envelopes } =
        node.execute(Command::ReceiptEvidence { receipt_id }).await?
    else {
        return Err(ApiError::unexpected());
    };
    let mut text: String = envelopes.iter().map(|envelope| Bundle::envelope_line(envelope)).collect();
    let mut opened = envelopes.iter().map(|envelope| AnyEnvelope::open(envelope.as_bytes()));
    let Some(Ok(AnyEnvelope::Manifest(manifest))) = opened.next() else {
        return Err(ApiError::unexpected());
    };
    let terms = manifest.document();
    let module = with_artifact.then_some(("module", terms.artifact.cid));
    let inputs = match terms.stdin() {
        Stdin::Blob(cid) => Some(("inputs", cid)),
        Stdin::Inline(_) => None,
    };
    let mut written = HashSet::new();
    for (what, root) in module.into_iter().chain(inputs) {
        let cannot = |why: String| {
            let what = format!("the {what} {root} cannot be put into the bundle: {why}");
            let hint = format!("`zerostate artifact get {root}` gets it, where somebody has it");
            ApiError::new(ErrorKind::Failed, what).hint(hint)
        };
        let mut walk = Walk::new(&root, ARTIFACT_MAX).map_err(|error| cannot(error.to_string()))?;
        while let Some(wanted) = walk.take() {
            let block = node.read_block(wanted.cid.to_string()).await;
            let block = block.map_err(|error| cannot(error.to_string()))?;
            walk.open(&wanted, &block).map_err(|error| cannot(error.to_string()))?;
            if written.insert(wanted.cid) {
                text.push_str(&Bundle::block_line(&wanted.cid, &block));
            }
        }
    }
    Ok((receipt_id, text))
}
