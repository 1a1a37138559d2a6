import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore, memoryStore } from '../../lib/index.ts'
import { azureStore } from '../../lib/stores/object/azure.ts'
import { readObjectStoreOptions } from '../../lib/stores/object/options.ts'
import { s3Store } from '../../lib/stores/object/s3.ts'
import { root } from './package.ts'
import { blocks, code, namesInError, readPage, rows, unknownOption } from './page.ts'

const { section } = readPage('lib/stores/README.md')

const objectOptions = rows(section('Options of azureStore and s3Store'))

describe('lib/stores/README.md', () => {
  it('lists every option of fileStore() and memoryStore(), and no others', () => {
    const listed = (heading: string) => rows(section(heading)).map(([name]) => code(name))
    expect(listed('Options of fileStore').sort()).toEqual(
      namesInError(() => fileStore('x', unknownOption)).sort(),
    )
    expect(listed('Memory store').sort()).toEqual(namesInError(() => memoryStore(unknownOption)).sort())
  })

  it('lists every option of azureStore() and s3Store(), and no others', () => {
    const listedFor = (store: string) =>
      objectOptions.flatMap(([name, , , of]) => (of === store || of === 'both' ? [code(name)] : [])).sort()
    expect(listedFor('Azure')).toEqual(namesInError(() => azureStore(unknownOption)).sort())
    expect(listedFor('S3')).toEqual(namesInError(() => s3Store(unknownOption)).sort())
  })

  it('states the defaults of azureStore() and s3Store()', () => {
    const sizes = objectOptions.flatMap(([name, , standard]) =>
      /^`'\d/.test(standard ?? '') ? [[code(name), code(standard).replaceAll("'", '')]] : [],
    )
    expect(sizes.map(([name]) => name)).toEqual(['partSize', 'memory'])
    const stated = readObjectStoreOptions('stated', Object.fromEntries(sizes), [])
    expect(stated).toEqual(readObjectStoreOptions('defaults', {}, []))
  })

  it('prints the members of the type Store, optional ones as optional', () => {
    const membersOf = (text: string): string[] => {
      const [, body = ''] = /^export interface Store\b[^\n]*\{\n(.*?)^\}/ms.exec(text) ?? []
      return [...body.matchAll(/^ {2}(?:readonly )?(\w+\??)[:(]/gm)].map(([, name = '']) => name).sort()
    }
    const [printed = ''] = blocks(section('The interface'), 'ts')
    const members = membersOf(readFileSync(join(root, 'lib/stores/store.ts'), 'utf8'))
    expect(members.filter((name) => !name.endsWith('?'))).toHaveLength(11)
    expect(membersOf(printed)).toEqual(members)
  })
})
