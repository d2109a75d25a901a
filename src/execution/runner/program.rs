//! Code that a runner has loaded, and the engines it runs on.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use wasmtime::component::{self, Component};
use wasmtime::{Engine, Linker, Module};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::super::engine::{engine, pooled_engine};
use super::super::job::DEFAULT_STACK_BYTES;
use super::super::wire::Kind;
use super::guest::Program;
use super::host::{self, Host};

/// Engines for stack limits other than the default one. Each has its own pages of code; few jobs ask for one.
const OTHER_ENGINES: usize = 4;

/// A program and the engine it belongs to.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) program: Program,
}

/// What is loaded, by the numbers that the node gave.
pub(super) struct Programs {
    pooled: Linked,
    /// The latest used last.
    others: Vec<(u64, Linked)>,
    loaded: HashMap<u32, Rc<Loaded>>,
}

#[derive(Clone)]
struct Linked {
    engine: Engine,
    modules: Linker<Host>,
    components: component::Linker<Host>,
}

impl Linked {
    fn new(engine: Engine) -> wasmtime::Result<Self> {
        let (modules, components) = (host::linker(&engine)?, host::component_linker(&engine)?);
        Ok(Self { engine, modules, components })
    }
}

impl Programs {
    pub(super) fn new(slots: u32) -> wasmtime::Result<Self> {
        let pooled = Linked::new(pooled_engine(DEFAULT_STACK_BYTES, slots)?)?;
        Ok(Self { pooled, others: Vec::new(), loaded: HashMap::new() })
    }

    #[allow(unsafe_code)]
    pub(super) fn load(
        &mut self,
        code: u32,
        kind: Kind,
        stack_bytes: u64,
        file: OwnedFd,
    ) -> wasmtime::Result<()> {
        let linked = self.linked(stack_bytes)?;
        let file = File::from(file);
        let program = match kind {
            Kind::Module => {
                // SAFETY: the file was written by this very program's compiler and has not changed since: it is in a
                // folder of the node's own, under a name with the digest of its content, which the node has checked.
                let module = unsafe { Module::deserialize_open_file(&linked.engine, file)? };
                Program::Module(linked.modules.instantiate_pre(&module)?)
            }
            Kind::Component => {
                // At its place and not from where it stands: other runners read the same open file.
                let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
                file.read_exact_at(&mut bytes, 0)?;
                // SAFETY: as above.
                let component = unsafe { Component::deserialize(&linked.engine, &bytes)? };
                Program::Component(CommandPre::new(linked.components.instantiate_pre(&component)?)?)
            }
        };
        self.loaded.insert(code, Rc::new(Loaded { engine: linked.engine, program }));
        Ok(())
    }

    pub(super) fn unload(&mut self, code: u32) {
        self.loaded.remove(&code);
    }

    pub(super) fn get(&self, code: u32) -> Option<Rc<Loaded>> {
        self.loaded.get(&code).cloned()
    }

    /// The engine for a stack limit: a limit is exact, and part of an engine.
    fn linked(&mut self, stack_bytes: u64) -> wasmtime::Result<Linked> {
        if stack_bytes == DEFAULT_STACK_BYTES {
            return Ok(self.pooled.clone());
        }
        let linked = match self.others.iter().position(|(bytes, _)| *bytes == stack_bytes) {
            Some(at) => self.others.remove(at).1,
            None => Linked::new(engine(stack_bytes)?)?,
        };
        self.others.push((stack_bytes, linked.clone()));
        let surplus = self.others.len().saturating_sub(OTHER_ENGINES);
        self.others.drain(..surplus);
        Ok(linked)
    }
}
