#![no_std]
//! Being built.
