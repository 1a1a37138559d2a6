import { Ours } from '../../objects/ours.ts'

/** One object a lock that is held. */
export const lockKeys = `${Ours}locks/`
/** @param hash of the lock's name, in hexadecimal digits */
export const lockObjectKey = (hash: string): string => lockKeys + hash

/** One object a node that is alive: its heartbeat. */
export const nodeKeys = `${Ours}nodes/`
export const nodeKey = (node: string): string => nodeKeys + node

/** A folder for each node of which something is wanted. */
export const wantFolders = `${Ours}wants/`
export const wantFolder = (node: string): string => `${wantFolders}${node}/`
