#!/usr/bin/env node
import { run } from './run.ts'

// Whoever reads what is printed may leave, or its disk be full: files come and go all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

process.exitCode = await run(process.argv.slice(2))
