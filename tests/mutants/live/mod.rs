//! Mutants served live, each as a process of its own, through the door for gateways that are not ours.

mod checks;
mod playing;
mod serving;
mod sweep;
mod table;
