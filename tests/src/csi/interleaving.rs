//! A random interleaving: calls one after the other, at once, cut off, with kills of the
//! driver and of the mounts in between. Whatever happened, in the end everything can be
//! taken away and nothing is left.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::node::{CsiNode, Volume, may_be_repeated};
use crate::random::Random;

/// How long it may take until everything can be taken away.
const SETTLE: Duration = Duration::from_secs(60);

const PODS: u8 = 2;
const VOLUMES: [Volume; 4] = [
    Volume::Staged(0),
    Volume::Staged(1),
    Volume::Staged(2),
    Volume::Inline(0),
];

/// Plays interleavings on one node.
#[derive(Debug)]
pub struct Interleaving {
    node: CsiNode,
    runtime: Runtime,
}

/// What was played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Played {
    /// Calls that were made, those for the end not counted.
    pub calls: usize,
    /// Kills of the driver.
    pub driver_kills: usize,
    /// Kills of mounts.
    pub mount_kills: usize,
    /// Calls whose caller went away.
    pub cut_off: usize,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Stage(u8),
    Unstage(u8),
    Publish(Volume, u8),
    Unpublish(Volume, u8),
}

impl Interleaving {
    /// A node to play on.
    ///
    /// # Panics
    /// If it does not start.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            node: CsiNode::start(),
            runtime: runtime.expect("a runtime"),
        }
    }

    /// Plays the interleaving of that seed.
    ///
    /// # Errors
    /// What is wrong or left, and what had been done.
    pub fn play(&mut self, seed: u64) -> Result<Played, String> {
        let mut random = Random::new(seed);
        let mut played = Played::default();
        let mut done = Vec::new();
        let steps = 4 + random.below(8);
        for _ in 0..steps {
            let step = self.step(&mut random, &mut played);
            step.map_err(|wrong| format!("seed {seed}: {wrong}\nafter {done:#?}"))?;
            done.push(played);
        }
        self.settle()
            .map_err(|left| format!("seed {seed}: {left}\n{}", self.node.log()))?;
        Ok(played)
    }

    fn step(&mut self, random: &mut Random, played: &mut Played) -> Result<(), String> {
        let call = pick(random);
        match random.below(10) {
            0 => {
                played.driver_kills += 1;
                let after = Duration::from_millis(random.below(60));
                self.cut_off(call, after);
                self.node.kill_driver();
                self.node.start_driver();
            }
            1 => {
                played.mount_kills += 1;
                match random.below(2) {
                    0 => self.node.kill_mounts(),
                    // With the keepers gone, nobody can take the mounts over.
                    _ => self.node.kill_mounts_and_keepers(),
                }
            }
            2 => {
                played.cut_off += 1;
                self.cut_off(call, Duration::from_millis(random.below(60)));
            }
            3 | 4 => {
                let other = pick(random);
                played.calls += 1;
                let node = &self.node;
                let both = async { tokio::join!(make(node, call), make(node, other)) };
                let (one, two) = self.runtime.block_on(both);
                acceptable(call, &one)?;
                acceptable(other, &two)?;
            }
            _ => self.alone(call)?,
        }
        played.calls += 1;
        Ok(())
    }

    /// A call that nobody disturbs: what it has promised must be so.
    fn alone(&self, call: Call) -> Result<(), String> {
        let outcome = self.runtime.block_on(make(&self.node, call));
        acceptable(call, &outcome)?;
        match (call, outcome) {
            (Call::Publish(volume, pod), Ok(())) => self.node.check(volume, pod),
            (Call::Unpublish(volume, pod), outcome) => {
                let target = self.node.target(volume, pod);
                outcome.map_err(|status| format!("{call:?}: {status}"))?;
                let left = target
                    .exists()
                    .then(|| format!("{} is left", target.display()));
                left.map_or(Ok(()), Err)
            }
            (Call::Unstage(_), Err(status)) => Err(format!("{call:?}: {status}")),
            _ => Ok(()),
        }
    }

    /// A call whose caller goes away.
    fn cut_off(&self, call: Call, after: Duration) {
        // Whether it was done by then or not, nobody knows.
        let _ = self
            .runtime
            .block_on(async { timeout(after, make(&self.node, call)).await });
    }

    /// Takes everything away as a kubelet does: again and again until it is gone.
    fn settle(&self) -> Result<(), String> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let wrong = self.runtime.block_on(async {
                let mut wrong = Vec::new();
                for volume in VOLUMES {
                    for pod in 0..PODS {
                        let call = Call::Unpublish(volume, pod);
                        wrong.extend(
                            make(&self.node, call)
                                .await
                                .err()
                                .map(|status| format!("{call:?}: {status}")),
                        );
                    }
                    if let Volume::Staged(number) = volume {
                        let call = Call::Unstage(number);
                        wrong.extend(
                            make(&self.node, call)
                                .await
                                .err()
                                .map(|status| format!("{call:?}: {status}")),
                        );
                    }
                }
                sleep(Duration::from_millis(10)).await;
                wrong
            });
            let left = self.node.left();
            if wrong.is_empty() && left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("refused {wrong:#?}, left {left:#?}"));
            }
        }
    }
}

impl Default for Interleaving {
    fn default() -> Self {
        Self::new()
    }
}

fn pick(random: &mut Random) -> Call {
    let volume = VOLUMES[usize::try_from(random.below(4)).unwrap_or(0)];
    let pod = u8::try_from(random.below(u64::from(PODS))).unwrap_or(0);
    match (random.below(6), volume) {
        (0 | 1, Volume::Staged(number)) => Call::Stage(number),
        (2, Volume::Staged(number)) => Call::Unstage(number),
        (5, _) => Call::Unpublish(volume, pod),
        _ => Call::Publish(volume, pod),
    }
}

async fn make(node: &CsiNode, call: Call) -> Result<(), Status> {
    let connected = node.connect().await;
    let mut client = connected.map_err(|error| Status::unavailable(error.to_string()))?;
    match call {
        Call::Stage(volume) => client.node_stage_volume(node.stage(volume)).await.map(drop),
        Call::Unstage(volume) => client
            .node_unstage_volume(node.unstage(volume))
            .await
            .map(drop),
        Call::Publish(volume, pod) => client
            .node_publish_volume(node.publish(volume, pod))
            .await
            .map(drop),
        Call::Unpublish(volume, pod) => client
            .node_unpublish_volume(node.unpublish(volume, pod))
            .await
            .map(drop),
    }
}

/// Calls may come in any order, so some are refused; but none is called wrong.
fn acceptable(call: Call, outcome: &Result<(), Status>) -> Result<(), String> {
    match outcome {
        Err(status) if !may_be_repeated(status) => Err(format!("{call:?}: {status}")),
        _ => Ok(()),
    }
}
