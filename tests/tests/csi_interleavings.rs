//! The CSI driver under random interleavings of calls and kills; 1,000 of them are played
//! by `cargo xtask show csi`.

use forebay_tests::csi::Interleaving;

#[test]
fn whatever_is_called_and_killed_everything_can_be_taken_away_and_nothing_is_left() {
    let mut interleaving = Interleaving::new();
    for seed in 0..20 {
        if let Err(wrong) = interleaving.play(seed) {
            panic!("{wrong}");
        }
    }
}
