#!/usr/bin/env node
import { run } from './run.ts'

// Output may fail: a pipe is closed, or a disk is full. Transfers continue.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

process.exitCode = await run(process.argv.slice(2))
