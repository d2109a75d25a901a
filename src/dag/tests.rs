use prost::Message as _;

use super::*;
use crate::document::Sha256Digest;

/// A file's root and all its blocks.
fn written(file: &[u8], chunk: usize) -> (Cid, Vec<Block>) {
    let mut layout = Layout::default();
    let mut blocks = Vec::new();
    for chunk in file.chunks(chunk) {
        let part = leaf(chunk);
        blocks.push(Block { cid: part.cid, bytes: chunk.to_vec() });
        blocks.extend(layout.push(part));
    }
    let (root, rest) = layout.finish();
    blocks.extend(rest);
    (root.cid, blocks)
}

fn read(root: &Cid, blocks: &[Block], limit: u64) -> Result<Vec<u8>, DagError> {
    let mut walk = Walk::new(root, limit)?;
    let mut file = Vec::new();
    while let Some(wanted) = walk.take() {
        let block = blocks.iter().find(|block| block.cid == wanted.cid).expect("every block is there");
        if let Some(bytes) = walk.open(&wanted, &block.bytes.clone().into())? {
            file.extend_from_slice(&bytes);
        }
    }
    Ok(file)
}

fn node_block(links: &[(Cid, u64)], data: pb::Data) -> Block {
    let link = |(cid, tsize): &(Cid, u64)| pb::Link {
        hash: Some(cid.to_bytes().into()),
        name: Some(String::new()),
        tsize: Some(*tsize),
    };
    let bytes = pb::encode(&links.iter().map(link).collect::<Vec<_>>(), &data);
    Block {
        cid: Cid::new_v1(crate::document::DAG_PB_CODEC, *Sha256Digest::of(&bytes).to_cid().hash()),
        bytes,
    }
}

fn file(sizes: &[u64]) -> pb::Data {
    pb::Data { kind: pb::FILE, data: None, filesize: Some(sizes.iter().sum()), blocksizes: sizes.to_vec() }
}

#[test]
fn files_of_every_shape_are_read_as_they_were_written() {
    // One leaf, a few, a full node, a node and one, three levels.
    for leaves in [1, 2, 5, WIDTH, WIDTH + 1, WIDTH * WIDTH + 1] {
        let bytes: Vec<u8> = (0..leaves).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let (root, blocks) = written(&bytes, 1);
        if leaves <= WIDTH + 1 {
            assert_eq!(read(&root, &blocks, 1 << 20).unwrap(), bytes, "{leaves} leaves");
        } else {
            assert_eq!(read(&root, &blocks, 1 << 30), Err(DagError::TooManyPieces));
        }
    }
    assert_eq!(
        written(b"", CHUNK).0.to_string(),
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    );
    assert_eq!(written(b"x", CHUNK).0.codec(), crate::document::RAW_CODEC);
}

/// Made by Helia 7: the bytes 0, 1, … 250, 0, 1, … of 1 MiB + 1.
#[test]
fn the_same_file_has_the_same_cid_as_elsewhere() {
    let bytes: Vec<u8> = (0..CHUNK + 1).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert_eq!(
        written(&bytes, CHUNK).0.to_string(),
        "bafybeidjogjfwuhbzwopgd4bn3skcf5m6oz72xshywcndzxgqb623nfclu"
    );
}

#[test]
fn a_root_that_is_too_large_is_refused_before_its_leaves_are_asked_for() {
    let (root, blocks) = written(&[1; 100], 10);
    assert!(matches!(read(&root, &blocks, 99), Err(DagError::TooLarge { size: 100, limit: 99, .. })));
    let (small, blocks) = written(&[1; 100], 100);
    assert!(matches!(read(&small, &blocks, 99), Err(DagError::TooLarge { .. })));
}

#[test]
fn a_knotted_dag_ends_where_its_sizes_do() {
    // A node with the same child a thousand times, and that node a thousand times in the next, and so on.
    let bottom = leaf(b"x");
    let mut blocks = vec![Block { cid: bottom.cid, bytes: b"x".to_vec() }];
    let (mut below, mut size) = (bottom.cid, 1_u64);
    for _ in 0..3 {
        let knot = node_block(&vec![(below, size); 1000], file(&vec![size; 1000]));
        (below, size) = (knot.cid, size * 1000);
        blocks.push(knot);
    }
    assert!(matches!(read(&below, &blocks, 64 << 20), Err(DagError::TooLarge { size: 1_000_000_000, .. })));
    assert_eq!(read(&below, &blocks, 2_000_000_000), Err(DagError::TooManyPieces));
    // One that understates what is below it is caught at the child.
    let liar = node_block(&[(below, 1), (bottom.cid, 1)], file(&[1, 1]));
    blocks.push(liar.clone());
    assert!(matches!(read(&liar.cid, &blocks, 100), Err(DagError::Malformed { cid, .. }) if cid == below));
}

#[test]
fn leaves_in_dag_pb_and_old_cids_are_read() {
    let inline = pb::Data {
        kind: pb::FILE,
        data: Some(b"old".to_vec().into()),
        filesize: Some(3),
        blocksizes: vec![],
    };
    let (a, b) = (node_block(&[], inline), Block { cid: leaf(b"new").cid, bytes: b"new".to_vec() });
    let root = node_block(&[(a.cid, 9), (b.cid, 3)], file(&[3, 3]));
    let v0 = Cid::new_v0(*root.cid.hash()).unwrap();
    let blocks = [a, b, root];
    assert_eq!(read(&v0, &blocks, 10).unwrap(), b"oldnew");
}

#[test]
fn what_is_not_a_file_is_named() {
    let empty = |kind| pb::Data { kind, data: None, filesize: None, blocksizes: vec![] };
    let parse = |block: &Block| Node::parse(&block.cid, &block.bytes.clone().into()).unwrap_err();
    let directory = node_block(&[], empty(pb::DIRECTORY));
    assert_eq!(parse(&directory), DagError::NotAFile { cid: directory.cid, what: "directory" });
    assert!(parse(&node_block(&[], empty(9))).to_string().contains("UnixFS type 9"));
    let x = leaf(b"x").cid;
    assert!(parse(&node_block(&[(x, 1)], file(&[1, 1]))).to_string().contains("1 links and 2 sizes"));
    assert!(parse(&node_block(&[(x, 1)], file(&[0]))).to_string().contains("a link to nothing"));
    let overflow = pb::Data { filesize: None, ..file(&[]) };
    let overflow = pb::Data { blocksizes: vec![u64::MAX, u64::MAX], ..overflow };
    assert!(parse(&node_block(&[(x, 1), (x, 1)], overflow)).to_string().contains("without end"));
    let sha1 = Cid::new_v1(0x55, cid::multihash::Multihash::wrap(0x11, &[0; 20]).unwrap());
    assert_eq!(parse(&node_block(&[(sha1, 1)], file(&[1]))), DagError::Unsupported(sha1));
    assert_eq!(Walk::new(&sha1, 1).unwrap_err(), DagError::Unsupported(sha1));
    let rubbish = Block { cid: directory.cid, bytes: vec![0xff; 10] };
    assert!(matches!(parse(&rubbish), DagError::Malformed { .. }));
    let no_data = pb::PbNode { data: None, links: vec![] }.encode_to_vec();
    assert!(matches!(parse(&Block { cid: directory.cid, bytes: no_data }), DagError::Malformed { .. }));
}
