//! The way through the prefixes of the sources.
//!
//! A prefix is **explored** (one level, its directories summed up) or listed **flat**
//! (everything below it, in order). The directories that exploring finds are visited
//! side by side, which pays if they hold many objects each and costs one request each if
//! they do not: a million directories of one object are listed flat a thousand times
//! faster. So when a level turns out to be wider than a page, the first flat page of it
//! is asked for, too, which shows how many directories a thousand keys span. If they are
//! fewer than the listings in flight, the level is explored to its end; else the flat
//! page was the first of the whole. Nothing is taken before this is decided, so each
//! object is taken once, in whatever order the origin lists.
//!
//! Directories that the globs leave out are not visited, and a level that has such is
//! explored to its end: a flat listing would bring what is in them.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::sink::Sink;
use super::{Error, Filter, LISTINGS, Progress};
use crate::origin::{Depth, ListedObject, Origin, Page, PageRequest, PageToken};
use crate::source::SourceSpec;

/// Prefixes of a source that are known before the rest is listed flat: enough to keep
/// all listings busy while some of them end early.
const ENOUGH_PREFIXES: usize = 2 * LISTINGS;

/// Levels that are explored at most, for trees that never branch.
const LEVELS: u32 = 8;

/// A walk through all prefixes of all sources.
pub(super) struct Walk<'a> {
    pub(super) sources: &'a [(SourceSpec, Arc<dyn Origin>)],
    pub(super) filter: &'a Filter,
    pub(super) progress: &'a Progress,
    pub(super) sink: &'a Sink,
}

/// How a prefix is listed.
enum Manner {
    /// One level; whether that pays is not known before the first page.
    Explore,
    /// One level, to its end.
    ExploreOn,
    /// Flat for one page, to see which of the two pays; the first page of exploring is
    /// held back.
    Sound(Page),
    /// Flat.
    Flat,
}

/// A prefix to list, and from where on.
struct Item {
    source: u16,
    prefix: Vec<u8>,
    level: u32,
    manner: Manner,
    after: Option<PageToken>,
}

/// What is still to be listed.
struct Agenda {
    // Last in, first out: a deep tree then has few prefixes waiting.
    items: Vec<Item>,
    /// Prefixes found so far, for each source.
    found: Vec<usize>,
}

impl Walk<'_> {
    /// Lists everything into the sink.
    pub(super) async fn run(&self) -> Result<(), Error> {
        let mut agenda = Agenda {
            items: Vec::new(),
            found: vec![0; self.sources.len()],
        };
        for source in (0..self.sources.len()).rev() {
            // The builder refuses more sources than an index can name.
            let source = u16::try_from(source).unwrap_or(u16::MAX);
            let (prefix, manner) = (Vec::new(), Manner::Explore);
            agenda.items.push(Item {
                source,
                prefix,
                level: 0,
                manner,
                after: None,
            });
        }
        let mut pages = FuturesUnordered::new();
        loop {
            while pages.len() < LISTINGS
                && let Some(item) = agenda.items.pop()
            {
                pages.push(self.page(item));
            }
            let Some(answer) = pages.next().await else {
                return Ok(());
            };
            let (item, page) = answer?;
            self.take(item, page, &mut agenda).await?;
        }
    }

    async fn page(&self, item: Item) -> Result<(Item, Page), Error> {
        let (_, origin) = &self.sources[usize::from(item.source)];
        let depth = match item.manner {
            Manner::Explore | Manner::ExploreOn => Depth::One,
            Manner::Sound(_) | Manner::Flat => Depth::All,
        };
        let request = PageRequest {
            prefix: &item.prefix,
            depth,
            after: item.after.as_ref(),
        };
        Progress::add(&self.progress.pages, 1);
        match origin.list(request).await {
            Ok(page) => Ok((item, page)),
            Err(source) => Err(Error::Source {
                url: origin.identity().to_owned(),
                source,
            }),
        }
    }

    /// Takes a page, or decides first which one to take.
    async fn take(&self, mut item: Item, mut page: Page, agenda: &mut Agenda) -> Result<(), Error> {
        let found = page.prefixes.len();
        page.prefixes.retain(|prefix| self.reaches(&item, prefix));
        let is_whole = page.prefixes.len() == found;
        let page = match item.manner {
            Manner::Explore if page.next.is_some() && is_whole && found > 0 => {
                item.manner = Manner::Sound(page);
                agenda.items.push(item);
                return Ok(());
            }
            Manner::Explore | Manner::ExploreOn => {
                item.manner = Manner::ExploreOn;
                page
            }
            Manner::Sound(held) if directories(&page, item.prefix.len()) < LISTINGS => {
                item.manner = Manner::ExploreOn;
                held
            }
            Manner::Sound(_) | Manner::Flat => {
                item.manner = Manner::Flat;
                page
            }
        };
        let objects = self.admitted(&item, page.objects);
        Progress::add(&self.progress.unservable, page.unservable.len() as u64);
        // That the sink is closed is not the reason; the sink has it.
        let taken = self.sink.push(item.source, objects, page.unservable).await;
        taken.map_err(|_| Error::Cancelled)?;
        agenda.add(item, page.prefixes, page.next);
        Ok(())
    }

    /// The path of a source in the tree: empty, or ending in `/`.
    fn root(&self, source: u16) -> Vec<u8> {
        let (spec, _) = &self.sources[usize::from(source)];
        let mut path = spec.name.clone().into_bytes();
        if !path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// Whether the filter may admit anything below `prefix`.
    fn reaches(&self, item: &Item, prefix: &[u8]) -> bool {
        let path = [&self.root(item.source), prefix].concat();
        self.filter.reaches(&path)
    }

    /// What the filter admits.
    fn admitted(&self, item: &Item, mut objects: Vec<ListedObject>) -> Vec<ListedObject> {
        let listed = objects.len();
        let mut path = self.root(item.source);
        let below = path.len();
        objects.retain(|object| {
            path.truncate(below);
            path.extend_from_slice(&object.key);
            self.filter.admits(&path)
        });
        let bytes = objects.iter().map(|object| object.size).sum();
        Progress::add(&self.progress.filtered, (listed - objects.len()) as u64);
        Progress::add(&self.progress.objects, objects.len() as u64);
        Progress::add(&self.progress.bytes, bytes);
        objects
    }
}

impl Agenda {
    /// Adds what a page of `item` leaves to do: its directories, and its next page.
    fn add(&mut self, item: Item, prefixes: Vec<Vec<u8>>, next: Option<PageToken>) {
        let (source, level) = (item.source, item.level + 1);
        let found = &mut self.found[usize::from(source)];
        *found += prefixes.len();
        let is_explored = level < LEVELS && *found < ENOUGH_PREFIXES;
        let directories = prefixes.into_iter().map(|prefix| {
            let manner = if is_explored {
                Manner::Explore
            } else {
                Manner::Flat
            };
            Item {
                source,
                prefix,
                level,
                manner,
                after: None,
            }
        });
        // The next page first, to be popped last: it can wait, and finds more.
        if next.is_some() {
            self.items.push(Item {
                after: next,
                ..item
            });
        }
        self.items.extend(directories);
    }
}

/// How many directories directly below a prefix of this length the page's keys span.
fn directories(page: &Page, prefix: usize) -> usize {
    let mut spanned = HashSet::new();
    for object in &page.objects {
        let rest = object.key.get(prefix..).unwrap_or_default();
        if let Some(slash) = rest.iter().position(|&byte| byte == b'/') {
            spanned.insert(&rest[..slash]);
        }
    }
    spanned.len()
}
