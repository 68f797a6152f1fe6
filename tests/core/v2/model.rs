//! The tree as simply as it can be: a map of paths, and a list of all events.

use bytes::Bytes;
use detcd_core::v2::{Code, Operation, Write};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNode {
    /// `None`: a directory.
    pub value: Option<Bytes>,
    pub created: u64,
    pub modified: u64,
    /// The name of its time-to-live.
    pub ttl: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub index: u64,
    pub nodes: BTreeMap<Vec<u8>, ModelNode>,
    /// The path of each event, by index; refreshed ones are not told.
    pub events: Vec<(u64, Vec<u8>, bool)>,
}

impl Model {
    pub fn new(index: u64) -> Model {
        Model {
            index,
            ..Model::default()
        }
    }

    /// Gives the path that was written, or the code of the refusal.
    pub fn apply(&mut self, write: &Write) -> Result<Vec<u8>, Code> {
        let next = self.index + 1;
        let mut path = write.path.to_vec();
        if write.operation == Operation::CreateInOrder {
            path.extend_from_slice(format!("/{next:020}").as_bytes());
        }
        let ttl = write.ttl.map(|_| next);
        match write.operation {
            Operation::Set => {
                let found = self.find(&path);
                if write.refresh || found == Err(Code::NotADirectory) {
                    found.clone()?;
                }
                let value = match (&found, write.refresh) {
                    (Ok(node), true) => node.value.clone().unwrap_or_default(),
                    _ => write.value.clone(),
                };
                self.make(&path, write.dir, value, ttl, true)?;
            }
            Operation::Create | Operation::CreateInOrder => {
                self.make(&path, write.dir, write.value.clone(), ttl, false)?;
            }
            Operation::Update => {
                self.not_root(&path)?;
                let node = self.find(&path)?;
                if node.value.is_none() && !write.value.is_empty() {
                    return Err(Code::NotAFile);
                }
                self.rewrite(&path, write, node, ttl);
            }
            Operation::CompareAndSwap => {
                self.not_root(&path)?;
                let node = self.compared(write)?;
                self.rewrite(&path, write, node, ttl);
            }
            Operation::Delete => {
                self.not_root(&path)?;
                let node = self.find(&path)?;
                let is_dir = node.value.is_none();
                if is_dir && !write.dir && !write.recursive {
                    return Err(Code::NotAFile);
                }
                if is_dir && !write.recursive && self.below(&path).next().is_some() {
                    return Err(Code::DirectoryNotEmpty);
                }
                self.remove(&path);
            }
            Operation::CompareAndDelete => {
                self.compared(write)?;
                self.remove(&path);
            }
        }
        self.index = next;
        let keeps = matches!(
            write.operation,
            Operation::Set | Operation::Update | Operation::CompareAndSwap
        );
        self.events
            .push((next, path.clone(), write.refresh && keeps));
        Ok(path)
    }

    fn not_root(&self, path: &[u8]) -> Result<(), Code> {
        match path.is_empty() {
            true => Err(Code::RootReadOnly),
            false => Ok(()),
        }
    }

    pub fn find(&self, path: &[u8]) -> Result<ModelNode, Code> {
        let root = ModelNode {
            value: None,
            created: 0,
            modified: 0,
            ttl: None,
        };
        let mut found = root;
        for end in ends(path) {
            if found.value.is_some() {
                return Err(Code::NotADirectory);
            }
            let node = self.nodes.get(&path[..end]);
            found = node.cloned().ok_or(Code::KeyNotFound)?;
        }
        Ok(found)
    }

    fn compared(&self, write: &Write) -> Result<ModelNode, Code> {
        let node = self.find(&write.path)?;
        let value = node.value.as_ref().ok_or(Code::NotAFile)?;
        let is_value = write.prev_value.is_empty() || *value == write.prev_value;
        let is_index = write.prev_index == 0 || node.modified == write.prev_index;
        match is_value && is_index {
            true => Ok(node),
            false => Err(Code::CompareFailed),
        }
    }

    fn make(
        &mut self,
        path: &[u8],
        dir: bool,
        value: Bytes,
        ttl: Option<u64>,
        replace: bool,
    ) -> Result<(), Code> {
        self.not_root(path)?;
        let next = self.index + 1;
        let mut ends = ends(path);
        ends.pop();
        for end in &ends {
            if self
                .nodes
                .get(&path[..*end])
                .is_some_and(|it| it.value.is_some())
            {
                return Err(Code::NotADirectory);
            }
        }
        match self.nodes.get(path) {
            Some(node) if replace && node.value.is_none() => return Err(Code::NotAFile),
            Some(_) if !replace => return Err(Code::KeyExists),
            _ => {}
        }
        let mut node = ModelNode {
            value: None,
            created: next,
            modified: next,
            ttl: None,
        };
        for end in ends {
            let way = path[..end].to_vec();
            self.nodes.entry(way).or_insert_with(|| node.clone());
        }
        node.value = (!dir).then_some(value);
        node.ttl = ttl;
        self.nodes.insert(path.to_vec(), node);
        Ok(())
    }

    fn rewrite(&mut self, path: &[u8], write: &Write, mut node: ModelNode, ttl: Option<u64>) {
        node.ttl = ttl;
        if node.value.is_some() {
            node.modified = self.index + 1;
            if !write.refresh {
                node.value = Some(write.value.clone());
            }
        }
        self.nodes.insert(path.to_vec(), node);
    }

    fn below<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a Vec<u8>> {
        let is_below = |key: &[u8]| {
            key.strip_prefix(path)
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        self.nodes.keys().filter(move |key| is_below(key))
    }

    fn remove(&mut self, path: &[u8]) {
        let gone: Vec<_> = self.below(path).cloned().collect();
        for path in gone {
            self.nodes.remove(&path);
        }
        self.nodes.remove(path);
    }

    /// Ends a time-to-live. Says whether it was one.
    pub fn expire(&mut self, id: u64) -> bool {
        let mut nodes = self.nodes.iter();
        let Some((path, _)) = nodes.find(|(_, node)| node.ttl == Some(id)) else {
            return false;
        };
        let path = path.clone();
        self.remove(&path);
        self.index += 1;
        self.events.push((self.index, path, false));
        true
    }
}

/// Where each component of a path ends.
fn ends(path: &[u8]) -> Vec<usize> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut ends: Vec<usize> = slashes.map(|(at, _)| at).skip(1).collect();
    if !path.is_empty() {
        ends.push(path.len());
    }
    ends
}
