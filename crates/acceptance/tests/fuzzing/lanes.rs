//! The seeds of the fuzz target `lanes`.

#[test]
fn seeds_are_hashed_equally() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/lanes");
    let seeds = std::fs::read_dir(folder).unwrap();
    let read = seeds.map(|seed| {
        sip_authz_testing::fuzzing::fuzz_lanes(&std::fs::read(seed.unwrap().path()).unwrap())
    });
    assert!(read.count() >= 4);
}
