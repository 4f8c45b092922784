//! The CSI driver under random interleavings of calls and kills, of which 1,000 are played
//! by `cargo xtask show csi`, and after a reboot.

use forebay_proto::csi::v1::node_client::NodeClient;
use forebay_tests::csi::{CsiNode, Interleaving, Volume};
use tonic::transport::Channel;

#[test]
fn whatever_is_called_and_killed_everything_can_be_taken_away_and_nothing_is_left() {
    let mut interleaving = Interleaving::new();
    for seed in 0..20 {
        if let Err(wrong) = interleaving.play(seed) {
            panic!("{wrong}");
        }
    }
}

#[tokio::test]
async fn after_a_reboot_what_was_there_can_be_taken_away_and_had_again() {
    const VOLUME: Volume = Volume::Staged(0);
    let mut node = CsiNode::start();
    show(&node, &mut driver_of(&node).await, VOLUME).await;
    node.reboot();
    // The kubelet takes away what it had, and only then brings up the pods anew.
    let mut driver = driver_of(&node).await;
    let unpublished = driver
        .node_unpublish_volume(node.unpublish(VOLUME, 0))
        .await;
    unpublished.expect("it can be taken away");
    let unstaged = driver.node_unstage_volume(node.unstage(0)).await;
    unstaged.expect("it can be taken away");
    assert_eq!(node.left(), Vec::<String>::new());
    show(&node, &mut driver, VOLUME).await;
}

async fn driver_of(node: &CsiNode) -> NodeClient<Channel> {
    node.connect().await.expect("the driver listens")
}

/// Stages and publishes a volume, and reads it.
async fn show(node: &CsiNode, driver: &mut NodeClient<Channel>, volume: Volume) {
    let staged = driver.node_stage_volume(node.stage(0)).await;
    staged.expect("the volume is staged");
    let published = driver.node_publish_volume(node.publish(volume, 0)).await;
    published.expect("the volume is published");
    node.check(volume, 0).expect("it can be read");
}
