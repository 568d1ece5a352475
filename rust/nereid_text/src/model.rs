//! The vocabulary model inside a tokenizer, shared by reference: encoding with and without special
//! tokens needs two pipelines, and the vocabulary is far too big to be held twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::models::TrainerWrapper;
use tokenizers::{Model, ModelWrapper, Token};

use crate::spm::SpmModel;

#[derive(Clone)]
pub struct SharedModel(Arc<Kind>);

enum Kind {
    Library(ModelWrapper),
    Spm(SpmModel),
}

impl SharedModel {
    pub fn library(model: impl Into<ModelWrapper>) -> Self {
        SharedModel(Arc::new(Kind::Library(model.into())))
    }
    pub fn spm(model: SpmModel) -> Self {
        SharedModel(Arc::new(Kind::Spm(model)))
    }
}

impl<'de> Deserialize<'de> for SharedModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(SharedModel::library(ModelWrapper::deserialize(deserializer)?))
    }
}

impl Model for SharedModel {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, sequence: &str) -> tokenizers::Result<Vec<Token>> {
        match &*self.0 {
            Kind::Library(model) => model.tokenize(sequence),
            Kind::Spm(model) => Ok(model.tokenize(sequence)),
        }
    }
    fn token_to_id(&self, token: &str) -> Option<u32> {
        match &*self.0 {
            Kind::Library(model) => model.token_to_id(token),
            Kind::Spm(model) => model.token_to_id(token),
        }
    }
    fn id_to_token(&self, id: u32) -> Option<String> {
        match &*self.0 {
            Kind::Library(model) => model.id_to_token(id),
            Kind::Spm(model) => model.token(id).map(str::to_owned),
        }
    }
    fn get_vocab(&self) -> HashMap<String, u32> {
        match &*self.0 {
            Kind::Library(model) => model.get_vocab(),
            Kind::Spm(model) => model.vocab(),
        }
    }
    fn get_vocab_size(&self) -> usize {
        match &*self.0 {
            Kind::Library(model) => model.get_vocab_size(),
            Kind::Spm(model) => model.vocab_size(),
        }
    }
    fn save(&self, _folder: &Path, _prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("saving a tokenizer is not supported".into())
    }
    fn get_trainer(&self) -> TrainerWrapper {
        match &*self.0 {
            Kind::Library(model) => model.get_trainer(),
            Kind::Spm(_) => TrainerWrapper::BpeTrainer(BpeTrainer::default()),
        }
    }
}
